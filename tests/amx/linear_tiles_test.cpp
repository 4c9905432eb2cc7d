// linear() on tiles, which are emulated here: the bounds of ops/cpu/tile_kernels.hpp, and that tile_rows says when.
#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/kernels.hpp"
#include "ops/linear.hpp"
#include "ops/standard_linear_config.hpp"
#include "ops/test_panels.hpp"
#include "ops/test_tensors.hpp"
#include "reference/linear.hpp"
#include "tensor/block_float.hpp"

namespace meshseek {
namespace {

using namespace testing;
using OneD = MatmulMultiCoreReuseMultiCast1DProgramConfig;
using TwoD = MatmulMultiCoreReuseMultiCastProgramConfig;
using DramSharded = MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig;

LinearConfig without_tiles(LinearConfig cfg) {
  cfg.program_rule->tile_rows = 0;
  return cfg;
}

std::vector<float> rounded(std::vector<float> values) {
  for (float& value : values) value = round_to_bf16(value);
  return values;
}

TEST(LinearOnTiles, ThisProgramHasTiles) { ASSERT_NE(cpu::kernels().tiles, nullptr); }

TEST(LinearOnTiles, Bf16SumsAreWithinTheirBound) {
  Device device(2);
  for (const auto& [dtype, layout] : {std::pair{DataType::float32, Layout::row_major},
                                      {DataType::bfloat16, Layout::tile},
                                      {DataType::bfloat8_b, Layout::tile},
                                      {DataType::bfloat4_b, Layout::tile}}) {
    for (const auto& [in, out, num_tokens] : kOddShapes) {
      const std::vector<float> x = random_values(num_tokens * in, 1);
      const LinearConfig cfg = tiled(random_values(out * in, 2), {out, in}, dtype, MathFidelity::HiFi2, layout);
      const std::vector<float> y = to_float_vector(linear(activation(x, {num_tokens, in}, device), cfg));
      const reference::LinearResult exact =
          reference::linear(rounded(x), rounded(to_float_vector(cfg.input_tensor_b.tensor)), {num_tokens, in, out});
      for (std::size_t idx = 0; idx < y.size(); ++idx) {
        const double bound = cpu::tile_roundings(in) * kEpsilon * exact.magnitude[idx] + 1e-30;
        ASSERT_NEAR(y[idx], exact.y[idx], bound) << to_string(dtype) << " " << in << " x " << out << " at " << idx;
      }
    }
  }
}

/// How much of its bound the error of one sum takes. \param x, w rows of as many values
double share_of_integer_bound(const std::vector<float>& x, std::vector<float> w) {
  Device device(1);
  const auto in = static_cast<std::int64_t>(x.size());
  w.resize(32 * x.size());
  const LinearConfig cfg = tiled(w, {32, in}, DataType::bfloat8_b, MathFidelity::LoFi);
  const double y = to_float_vector(linear(activation(x, {1, in}, device), cfg))[0];
  const std::vector<float> stored = to_float_vector(cfg.input_tensor_b.tensor);
  const double exact = reference::linear(x, stored, {1, in, 32}).y[0];
  return std::abs(y - exact) / integer_bound(x, stored, steps_of(x, in, false), steps_of(stored, in, true), in, 0, 0);
}

/// All rounding errors on one side: what is left of the bound is little, so that larger steps would exceed it.
TEST(LinearOnTiles, TheBoundOfInt8IsReached) {
  std::vector<float> x(cpu::kTileChunk, 0.499F), ones(cpu::kTileChunk, 1.0F);
  x[100] = 127.0F;  // a step of 1
  EXPECT_GT(share_of_integer_bound(x, ones), 0.9);
  std::vector<float> w(cpu::kTileChunk, 0.49F);
  std::fill_n(w.begin(), 16, 64.0F);  // a step of 1
  EXPECT_GT(share_of_integer_bound(ones, w), 0.9);
}

TEST(LinearOnTiles, HeadsAndExpertsMeetTheirOwnMatrices) {
  Device device(2);
  constexpr std::int64_t kIn = 70, kOut = 45, kMatrices = 3, kTokens = 37;
  const std::vector<float> w = random_values(kMatrices * kOut * kIn, 5);
  const LinearConfig cfg = tiled(w, {kMatrices, kOut, kIn}, DataType::bfloat8_b, MathFidelity::HiFi2);
  const std::vector<float> stored = to_float_vector(cfg.input_tensor_b.tensor);
  const auto expect_matrix = [&](std::span<const float> x, std::span<const float> y, std::int64_t matrix) {
    const std::span<const float> matrix_w = std::span(stored).subspan(static_cast<std::size_t>(matrix * kOut * kIn), kOut * kIn);
    const reference::LinearResult exact = reference::linear(x, matrix_w, {static_cast<std::int64_t>(x.size()) / kIn, kIn, kOut});
    for (std::size_t idx = 0; idx < y.size(); ++idx)
      ASSERT_NEAR(y[idx], exact.y[idx], cpu::tile_roundings(kIn) * kEpsilon * exact.magnitude[idx]);
  };
  for (const std::int64_t x_heads : {std::int64_t{1}, kMatrices}) {
    const std::vector<float> x = rounded(random_values(kTokens * x_heads * kIn, 6));
    const std::vector<float> y = to_float_vector(linear(activation(x, {kTokens, x_heads, kIn}, device), cfg));
    for (std::int64_t token = 0; token < kTokens; ++token) {
      for (std::int64_t head = 0; head < kMatrices; ++head) {
        const auto first_x = static_cast<std::size_t>((token * x_heads + (x_heads == 1 ? 0 : head)) * kIn);
        expect_matrix(std::span(x).subspan(first_x, kIn),
                      std::span(y).subspan(static_cast<std::size_t>((token * kMatrices + head) * kOut), kOut), head);
      }
    }
  }
  const std::vector<std::int64_t> offsets = {0, 33, 33, kTokens};
  const std::vector<float> x = rounded(random_values(kTokens * kIn, 7));
  const std::vector<float> y = to_float_vector(grouped_linear(activation(x, {kTokens, kIn}, device), offsets, cfg));
  expect_matrix(std::span(x).first(33 * kIn), std::span(y).first(33 * kOut), 0);
  expect_matrix(std::span(x).subspan(33 * kIn), std::span(y).subspan(33 * kOut), 2);
}

class TileRows : public ::testing::Test {
 protected:
  static constexpr std::int64_t kIn = 300, kOut = 64, kFewest = 17;

  std::vector<std::byte> run(const LinearConfig& cfg, std::int64_t num_tokens) {
    return bits_of(linear(activation(std::span(x_).first(static_cast<std::size_t>(num_tokens * kIn)), {num_tokens, kIn}, device_), cfg));
  }
  /// One row fewer than kFewest has the bits of vectors, kFewest rows those of tiles.
  void expect_from_fewest(const LinearConfig& cfg) {
    LinearConfig all = tiled(w_, {kOut, kIn}, DataType::bfloat8_b, cfg.compute_kernel_config.math_fidelity);
    for (const std::int64_t num_tokens : {kFewest - 1, kFewest}) {
      const std::vector<std::byte> tiles = run(all, num_tokens), vectors = run(without_tiles(all), num_tokens);
      ASSERT_NE(tiles, vectors);
      EXPECT_EQ(run(cfg, num_tokens), num_tokens < kFewest ? vectors : tiles) << num_tokens;
    }
  }

  Device device_{2};
  std::vector<float> x_ = random_values(kFewest * kIn, 10);
  std::vector<float> w_ = random_values(kOut * kIn, 11);
};

TEST_F(TileRows, OfEachProgramAndOfTheRuleSayFromHowManyRowsOn) {
  for (const MathFidelity fidelity : {MathFidelity::HiFi2, MathFidelity::LoFi}) {
    LinearConfig cfg = tiled(w_, {kOut, kIn}, DataType::bfloat8_b, fidelity);
    cfg.program_rule->tile_rows = kFewest;
    expect_from_fewest(cfg);
    cfg.program_rule.reset();
    cfg.program_config = OneD{.in0_block_w = 10, .per_core_M = 1, .per_core_N = 2, .tile_rows = kFewest};
    expect_from_fewest(cfg);
    cfg.program_config = TwoD{.in0_block_w = 10, .per_core_M = 1, .per_core_N = 2, .tile_rows = kFewest};
    expect_from_fewest(cfg);
    cfg.program_config = DramSharded{.in0_block_w = 10, .per_core_M = 1, .per_core_N = 2, .tile_rows = kFewest};
    expect_from_fewest(cfg);
  }
}

TEST_F(TileRows, CountTheRowsOfEachMatrixAlone) {
  const std::vector<float> w = random_values(2 * kOut * kIn, 12);
  LinearConfig cfg = tiled(w, {2, kOut, kIn}, DataType::bfloat8_b, MathFidelity::HiFi2);
  const Tensor x = activation(x_, {kFewest, kIn}, device_);
  const std::vector<std::int64_t> offsets = {0, 12, kFewest};
  const Tensor tiles = grouped_linear(x, offsets, cfg), vectors = grouped_linear(x, offsets, without_tiles(cfg));
  cfg.program_rule->tile_rows = 12;
  const Tensor both = grouped_linear(x, offsets, cfg);
  EXPECT_EQ(bits_of(both.slice_rows(0, 12)), bits_of(tiles.slice_rows(0, 12)));
  EXPECT_EQ(bits_of(both.slice_rows(12, kFewest)), bits_of(vectors.slice_rows(12, kFewest)));
  EXPECT_NE(bits_of(vectors.slice_rows(0, 12)), bits_of(tiles.slice_rows(0, 12)));
  EXPECT_NE(bits_of(vectors.slice_rows(12, kFewest)), bits_of(tiles.slice_rows(12, kFewest)));
}

TEST_F(TileRows, OfTheStandardConfigsAreOneInPrefillAndNoneInDecode) {
  const DeviceDescription device = {.num_cores = 2, .l2_bytes = 2 << 20, .isa = "amx"};
  for (const MathFidelity fidelity : {MathFidelity::HiFi2, MathFidelity::LoFi}) {
    LinearConfig prefill = prefill_linear_config({kOut, kIn}, fidelity, device),
                 decode = decode_linear_config({kOut, kIn}, fidelity, device);
    for (LinearConfig* cfg : {&prefill, &decode}) {
      cfg->input_tensor_b = weight_slot(w_, {kOut, kIn}, DataType::bfloat8_b, Layout::tile);
      cfg->dtype = DataType::float32;
      cfg->memory_config = {};
    }
    const LinearConfig all = tiled(w_, {kOut, kIn}, DataType::bfloat8_b, fidelity);
    for (const std::int64_t num_tokens : {std::int64_t{1}, kFewest}) {
      EXPECT_EQ(run(prefill, num_tokens), run(all, num_tokens));
      EXPECT_EQ(run(decode, num_tokens), run(without_tiles(all), num_tokens));
    }
  }
  EXPECT_EQ(prefill_linear_config({kOut, kIn}, MathFidelity::HiFi4, device).program_rule->tile_rows, 0);
}

TEST(LinearOnTiles, NonFiniteActivationsAndWeightsGiveNonFiniteResults) {
  Device device(1);
  for (const MathFidelity fidelity : {MathFidelity::HiFi2, MathFidelity::LoFi}) {
    const LinearConfig cfg = tiled(std::vector<float>(32 * 32, 1.0F), {32, 32}, DataType::bfloat8_b, fidelity);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      std::vector<float> x(2 * 32, 1.0F);
      x[20] = bad;
      const std::vector<float> y = to_float_vector(linear(activation(x, {2, 32}, device), cfg));
      for (std::size_t idx = 0; idx < y.size(); ++idx) EXPECT_EQ(std::isfinite(y[idx]), idx >= 32) << "the other row";
    }
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      std::vector<float> w(32 * 32, 1.0F);
      w[5 * 32 + 9] = std::numeric_limits<float>::infinity();
      const std::vector<float> y =
          to_float_vector(linear(activation(std::vector<float>(32, 1.0F), {1, 32}, device), tiled(w, {32, 32}, dtype, fidelity)));
      for (std::size_t row = 0; row < y.size(); ++row) EXPECT_EQ(std::isfinite(y[row]), row != 5) << to_string(dtype) << " row " << row;
    }
  }
}

TEST(LinearOnTiles, ThePaddingOfAFileMeetsNothing) {
  Device device(1);
  constexpr std::int64_t kIn = 39, kOut = 45;
  const std::vector<float> w = random_values(kOut * kIn, 13);
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (const MathFidelity fidelity : {MathFidelity::HiFi2, MathFidelity::LoFi}) {
      LinearConfig cfg = tiled(w, {kOut, kIn}, dtype, fidelity);
      // Padding that shares no exponent with values, and columns 39..47 that do.
      const auto bytes = std::make_shared<std::vector<std::byte>>(encode(w, {kOut, kIn}, dtype, Layout::tile, 0.01F));
      const Tensor x = random_activation({3, kIn}, 14, device);
      const Tensor expected = linear(x, cfg);
      cfg.input_tensor_b.tensor = Tensor({kOut, kIn}, dtype, Layout::tile, *bytes, bytes);
      EXPECT_EQ(bits_of(linear(x, cfg)), bits_of(expected));
      for (std::int64_t face = 1; face < 4; face += 2) {
        for (std::int64_t row = 0; row < 16; ++row)
          (*bytes)[static_cast<std::size_t>(tile_bytes(dtype) + face * 16 + row)] = std::byte{255};
      }
      EXPECT_EQ(bits_of(linear(x, cfg)), bits_of(expected)) << "blocks beyond the columns";
    }
  }
}

}  // namespace
}  // namespace meshseek

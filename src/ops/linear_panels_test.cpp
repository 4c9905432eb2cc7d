// linear() on panels: int8 where this machine has AVX-512 and VNNI, with emulated tiles bf16 too (test_amx_emulated). Elsewhere products of blocks take their
// place, which are closer.
#include <gtest/gtest.h>

#include "ops/cpu/tile_panels.hpp"
#include "ops/linear.hpp"
#include "ops/standard_linear_config.hpp"
#include "ops/test_panels.hpp"
#include "ops/test_tensors.hpp"
#include "reference/linear.hpp"

namespace meshseek {
namespace {

using namespace testing;
using TwoD = MatmulMultiCoreReuseMultiCastProgramConfig;

TEST(LinearOnPanels, Int8SumsAreWithinTheirBound) {
  Device device(2);
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (const auto& [in, out, num_tokens] : kOddShapes) {
      const std::vector<float> x = random_values(num_tokens * in, 3);
      const LinearConfig cfg = tiled(random_values(out * in, 4), {out, in}, dtype, MathFidelity::LoFi);
      const std::vector<float> w = to_float_vector(cfg.input_tensor_b.tensor);
      const std::vector<float> y = to_float_vector(linear(activation(x, {num_tokens, in}, device), cfg));
      const reference::LinearResult exact = reference::linear(x, w, {num_tokens, in, out});
      const std::vector<double> x_steps = steps_of(x, in, false), w_steps = steps_of(w, in, true);
      for (std::int64_t idx = 0; idx < num_tokens * out; ++idx) {
        const double bound = int8_bound(x, w, x_steps, w_steps, in, idx / out, idx % out);
        ASSERT_NEAR(y[static_cast<std::size_t>(idx)], exact.y[static_cast<std::size_t>(idx)], bound) << to_string(dtype) << " in " << in;
      }
    }
  }
}

TEST(LinearOnPanels, ARowAloneHasTheBitsItHasAmongOthersHoweverTheProductIsCut) {
  constexpr std::int64_t kIn = 1100, kOut = 77, kTokens = 41;
  for (const MathFidelity fidelity : {MathFidelity::HiFi2, MathFidelity::LoFi}) {
    if (cpu::fewest_tile_rows(1, fidelity, true) == 0) continue;  // both go through tiles in test_amx_emulated
    Device device(2);
    const Tensor x = random_activation({kTokens, kIn}, 8, device);
    LinearConfig cfg = tiled(random_values(kOut * kIn, 9), {kOut, kIn}, DataType::bfloat8_b, fidelity);
    const Tensor all = linear(x, cfg);
    for (const std::int64_t count : {1, 2, 15, 16, 17, 33}) {
      for (std::int64_t begin = 0; begin + count <= kTokens; begin += 7)
        ASSERT_EQ(bits_of(linear(x.slice_rows(begin, begin + count), cfg)), bits_of(all.slice_rows(begin, begin + count))) << count;
    }
    for (const std::int64_t in0_block_w : {1, 17, 35}) {
      for (const std::int64_t out_subblock_w : {1, 2}) {
        cfg.program_rule->in0_block_w = in0_block_w;
        cfg.program_rule->out_subblock_w = out_subblock_w;
        ASSERT_EQ(bits_of(linear(x, cfg)), bits_of(all)) << in0_block_w << ", " << out_subblock_w;
      }
    }
    cfg.program_rule.reset();
    cfg.program_config = TwoD{.compute_with_storage_grid_size = {2, 2}, .in0_block_w = 2, .per_core_M = 1, .per_core_N = 2, .tile_rows = 1};
    ASSERT_EQ(bits_of(linear(x, cfg)), bits_of(all));
  }
}

TEST(LinearOnPanels, WithoutAMatrixUnitOnlyLoFiInPrefillIsMeantForThem) {
  const DeviceDescription device = {.num_cores = 2, .l2_bytes = 2 << 20, .isa = "avx512_vnni"};
  const Shape shape = {64, 512};
  EXPECT_EQ(prefill_linear_config(shape, MathFidelity::LoFi, device).program_rule->tile_rows, 1);
  EXPECT_EQ(prefill_linear_config(shape, MathFidelity::HiFi2, device).program_rule->tile_rows, 0);
  EXPECT_EQ(prefill_linear_config(shape, MathFidelity::LoFi, device, false).program_rule->tile_rows, 0);
  LinearConfig decode = decode_linear_config(shape, MathFidelity::LoFi, device);
  decode.input_tensor_b = weight_slot(random_values(64 * 512, 1), shape, DataType::bfloat8_b, Layout::tile);
  decode.dtype = DataType::float32;
  decode.memory_config = {};
  LinearConfig vectors = tiled(random_values(64 * 512, 1), shape, DataType::bfloat8_b, MathFidelity::LoFi);
  vectors.program_rule->tile_rows = 0;
  Device here(2);
  const Tensor x = random_activation({3, 512}, 2, here);
  EXPECT_EQ(bits_of(linear(x, decode)), bits_of(linear(x, vectors)));
}

}  // namespace
}  // namespace meshseek

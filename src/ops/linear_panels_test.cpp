// linear() on panels: integers where this machine has AVX2 (int16 alone) or AVX-512 and VNNI, with emulated tiles bf16 too (test_amx_emulated). Elsewhere
// products of blocks take their place, which are closer.
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

/// Products of odd shapes with block floats; \param x_rounded to bf16 first
void expect_integer_bound(MathFidelity fidelity, cpu::PanelForm form, bool x_rounded) {
  Device device(2);
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (const auto& [in, out, num_tokens] : kOddShapes) {
      std::vector<float> x = random_values(num_tokens * in, 3);
      for (float& value : x) value = x_rounded ? round_to_bf16(value) : value;
      const LinearConfig cfg = tiled(random_values(out * in, 4), {out, in}, dtype, fidelity);
      const std::vector<float> w = to_float_vector(cfg.input_tensor_b.tensor);
      const std::vector<float> y = to_float_vector(linear(activation(x, {num_tokens, in}, device), cfg));
      const reference::LinearResult exact = reference::linear(x, w, {num_tokens, in, out});
      const std::vector<double> x_steps = steps_of(x, in, false, form), w_steps = steps_of(w, in, true, form);
      for (std::int64_t idx = 0; idx < num_tokens * out; ++idx) {
        const double bound = integer_bound(x, w, x_steps, w_steps, in, idx / out, idx % out, form);
        ASSERT_NEAR(y[static_cast<std::size_t>(idx)], exact.y[static_cast<std::size_t>(idx)], bound) << to_string(dtype) << " in " << in;
      }
    }
  }
}

TEST(LinearOnPanels, Int8SumsAreWithinTheirBound) { expect_integer_bound(MathFidelity::LoFi, cpu::PanelForm::int8, false); }

// Where HiFi2 is multiplied as bf16, that is closer for values that are bf16.
TEST(LinearOnPanels, Int16SumsAreWithinTheirBound) { expect_integer_bound(MathFidelity::HiFi2, cpu::PanelForm::int16, true); }

TEST(LinearOnPanels, HiFi2OfWeightsThatAreNoBlockFloatsHasIntegersNowhere) {
  Device device(2);
  const Tensor x = random_activation({20, 96}, 5, device, DataType::bfloat16);
  const std::vector<float> w = random_values(40 * 96, 6);
  const Tensor y = linear(x, tiled(w, {40, 96}, DataType::bfloat16, MathFidelity::HiFi2));
  const LinearConfig exact = tiled(w, {40, 96}, DataType::bfloat16, MathFidelity::HiFi4);
  const std::vector<float> expected = to_float_vector(linear(x, exact)), actual = to_float_vector(y);
  for (std::size_t idx = 0; idx < actual.size(); ++idx) ASSERT_NEAR(actual[idx], expected[idx], 1e-4) << idx;
}

TEST(LinearOnPanels, ARowAloneHasTheBitsItHasAmongOthersHoweverTheProductIsCut) {
  constexpr std::int64_t kIn = 1100, kOut = 77, kTokens = 41;
  for (const MathFidelity fidelity : {MathFidelity::HiFi2, MathFidelity::LoFi}) {
    if (!cpu::panel_form(fidelity, true, DataType::bfloat8_b)) continue;  // both go through tiles in test_amx_emulated
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

TEST(LinearOnPanels, OnlyPrefillIsMeantForThem) {
  const Shape shape = {64, 512};
  const auto tile_rows_on = [&](const char* isa) {
    return prefill_linear_config(shape, MathFidelity::HiFi2, {.num_cores = 2, .l2_bytes = 2 << 20, .isa = isa}).program_rule->tile_rows;
  };
  for (const char* isa : {"avx2", "avx512_vnni", "amx"}) EXPECT_EQ(tile_rows_on(isa), 1) << isa;
  for (const char* isa : {"scalar", "avx512"}) EXPECT_EQ(tile_rows_on(isa), 0) << isa;
  const DeviceDescription device = {.num_cores = 2, .l2_bytes = 2 << 20, .isa = "avx512_vnni"};
  EXPECT_EQ(prefill_linear_config(shape, MathFidelity::LoFi, device).program_rule->tile_rows, 1);
  EXPECT_EQ(prefill_linear_config(shape, MathFidelity::HiFi2, device).program_rule->tile_rows, 1);
  EXPECT_EQ(prefill_linear_config(shape, MathFidelity::HiFi4, device).program_rule->tile_rows, 0);
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

// The order of the sums is fixed: neither the number of tokens, nor threads, nor a row's place change one bit of a result.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;

constexpr std::int64_t kIn = 70, kOut = 77, kTokens = 41;

std::vector<LinearConfig> configs() {
  std::vector<LinearConfig> result;
  for (const bool transpose_b : {true, false}) {
    const Shape shape = transpose_b ? Shape{kOut, kIn} : Shape{kIn, kOut};
    for (const DataType dtype : {DataType::float32, DataType::bfloat16, DataType::bfloat8_b, DataType::bfloat4_b}) {
      for (const MathFidelity fidelity : {MathFidelity::HiFi4, MathFidelity::HiFi2, MathFidelity::LoFi}) {
        if (fidelity == MathFidelity::LoFi && !is_block_float(dtype)) continue;
        LinearConfig cfg;
        cfg.input_tensor_b = weight_slot(random_values(kIn * kOut, 1), shape, dtype, Layout::tile);
        cfg.transpose_b = transpose_b;
        cfg.dtype = DataType::float32;
        cfg.compute_kernel_config.math_fidelity = fidelity;
        result.push_back(cfg);
      }
    }
  }
  return result;
}

TEST(LinearOrder, ARowAloneHasTheBitsItHasAmongOthers) {
  Device device(2);
  const Tensor x = random_activation({kTokens, kIn}, 2, device);
  for (const LinearConfig& cfg : configs()) {
    const Tensor all = linear(x, cfg);
    for (const std::int64_t count : {1, 2, 3, 4, 5, 7, 8, 9, 16, 33}) {
      for (std::int64_t begin = 0; begin + count <= kTokens; begin += count) {
        ASSERT_EQ(bits_of(linear(x.slice_rows(begin, begin + count), cfg)), bits_of(all.slice_rows(begin, begin + count)))
            << count << " from " << begin;
      }
    }
  }
}

float largest_of(const std::vector<float>& values) {
  float largest = 0.0F;
  for (const float value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

/// Each order of the sums is within k * 2^-24 * sum |x||w| of the exact sum.
float bound_of_two_orders(const std::vector<float>& x) {
  return 2.0F * kIn * 0x1p-24F * kIn * largest_of(x) * largest_of(random_values(kIn * kOut, 1)) * 1.01F;
}

TEST(LinearOrder, BlocksOfKAddUpToTheWholeSum) {
  Device device(1);
  const Tensor x = random_activation({kTokens, kIn}, 2, device);
  const float bound = bound_of_two_orders(to_float_vector(x));
  for (LinearConfig cfg : configs()) {
    if (cfg.compute_kernel_config.math_fidelity == MathFidelity::LoFi) continue;
    const std::vector<float> whole = to_float_vector(linear(x, cfg));
    cfg.program_config = MatmulMultiCoreReuseMultiCast1DProgramConfig{
        .compute_with_storage_grid_size = {3, 1}, .in0_block_w = 1, .per_core_M = 2, .per_core_N = 1};
    EXPECT_THAT(to_float_vector(linear(x, cfg)), ::testing::Pointwise(::testing::FloatNear(bound), whole));
  }
}

TEST(LinearOrder, ThreadsDoNotChangeABit) {
  const std::vector<float> values = random_values(kTokens * kIn, 3);
  for (const LinearConfig& cfg : configs()) {
    Device one(1);
    const std::vector<std::byte> expected = bits_of(linear(activation(values, {kTokens, kIn}, one), cfg));
    for (const std::size_t num_threads : {2U, 3U, 5U}) {
      Device many(num_threads);
      ASSERT_EQ(bits_of(linear(activation(values, {kTokens, kIn}, many), cfg)), expected) << num_threads;
    }
  }
}

TEST(LinearOrder, AnOutputDoesNotDependOnItsRowInTheMatrix) {
  Device device(1);
  const std::vector<float> row = random_values(kIn, 4);
  std::vector<float> w;
  for (std::int64_t copy = 0; copy < kOut; ++copy) w.insert(w.end(), row.begin(), row.end());
  for (const MathFidelity fidelity : {MathFidelity::HiFi4, MathFidelity::LoFi}) {
    LinearConfig cfg;
    cfg.input_tensor_b = weight_slot(w, {kOut, kIn}, DataType::bfloat8_b, Layout::tile);
    cfg.dtype = DataType::float32;
    cfg.compute_kernel_config.math_fidelity = fidelity;
    const std::vector<float> y = to_float_vector(linear(random_activation({1, kIn}, 5, device), cfg));
    EXPECT_THAT(y, ::testing::Each(y[0]));
  }
}

TEST(LinearOrder, GroupedRowsHaveTheBitsOfTheirExpertsLinear) {
  constexpr std::int64_t kExperts = 5;
  const std::vector<std::int64_t> offsets = {0, 0, 3, 3, 40, 41};  // two experts without rows, one with nearly all
  for (const MathFidelity fidelity : {MathFidelity::HiFi4, MathFidelity::HiFi2, MathFidelity::LoFi}) {
    const std::vector<float> w = random_values(kExperts * kOut * kIn, 6);
    LinearConfig cfg;
    cfg.input_tensor_b = weight_slot(w, {kExperts, kOut, kIn}, DataType::bfloat8_b, Layout::tile);
    cfg.compute_kernel_config.math_fidelity = fidelity;
    for (const std::size_t num_threads : {1U, 2U, 3U}) {
      Device device(num_threads);
      const Tensor x = random_activation({kTokens, kIn}, 7, device);
      const Tensor y = grouped_linear(x, offsets, cfg);
      ASSERT_EQ(y.shape(), (Shape{kTokens, kOut}));
      for (std::size_t expert = 0; expert < kExperts; ++expert) {
        if (offsets[expert] == offsets[expert + 1]) continue;
        LinearConfig one = cfg;
        const auto matrix = std::span(w).subspan(expert * kOut * kIn, kOut * kIn);
        one.input_tensor_b = weight_slot(matrix, {kOut, kIn}, DataType::bfloat8_b, Layout::tile);
        const Tensor alone = linear(x.slice_rows(offsets[expert], offsets[expert + 1]), one);
        ASSERT_EQ(bits_of(y.slice_rows(offsets[expert], offsets[expert + 1])), bits_of(alone)) << "expert " << expert;
      }
    }
  }
}

}  // namespace
}  // namespace meshseek

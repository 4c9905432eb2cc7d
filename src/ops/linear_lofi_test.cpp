#include <cmath>
#include <limits>

#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"
#include "reference/linear.hpp"
#include "tensor/block_float.hpp"

namespace meshseek {
namespace {

using namespace testing;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon() / 2.0;

LinearConfig lofi(std::span<const float> values, const Shape& shape, DataType dtype, bool transpose_b = true) {
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(values, shape, dtype, Layout::tile);
  cfg.transpose_b = transpose_b;
  cfg.dtype = DataType::float32;
  cfg.compute_kernel_config.math_fidelity = MathFidelity::LoFi;
  return cfg;
}

const std::vector<std::pair<std::int64_t, std::int64_t>> kOddShapes = {{1, 1},   {15, 17}, {16, 32}, {17, 31}, {33, 33},
                                                                       {47, 65}, {64, 48}, {70, 70}, {70, 1}};

TEST(LinearLoFi, IsTheFloat32SumOfExactBlockProducts) {
  Device device(2);
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (const auto& [in, out] : kOddShapes) {
      for (const std::int64_t num_tokens : {1, 2, 5, 33}) {
        const std::vector<float> x = random_values(num_tokens * in, 7);
        const LinearConfig cfg = lofi(random_values(out * in, 8), {out, in}, dtype);
        const std::vector<float> y = to_float_vector(linear(activation(x, {num_tokens, in}, device), cfg));
        const reference::LinearResult exact =
            reference::linear(reference::int8_rounded(x, in), to_float_vector(cfg.input_tensor_b.tensor), {num_tokens, in, out});
        for (std::size_t idx = 0; idx < y.size(); ++idx) {
          const double bound = static_cast<double>(ceil_div(in, 16) + 6) * kEpsilon * exact.magnitude[idx];
          ASSERT_NEAR(y[idx], exact.y[idx], bound) << to_string(dtype) << " in " << in << " out " << out << " at " << idx;
        }
      }
    }
  }
}

TEST(LinearLoFi, ErrsByAtMostHalfAStepOfEachActivation) {
  Device device(1);
  constexpr std::int64_t kIn = 96, kOut = 40, kTokens = 6;
  std::vector<float> x = random_values(kTokens * kIn, 9);
  for (std::size_t idx = 0; idx < x.size(); idx += 37) x[idx] *= 50.0F;  // outliers
  const LinearConfig cfg = lofi(random_values(kOut * kIn, 10), {kOut, kIn}, DataType::bfloat8_b);
  const std::vector<float> w = to_float_vector(cfg.input_tensor_b.tensor);
  const std::vector<float> y = to_float_vector(linear(activation(x, {kTokens, kIn}, device), cfg));
  const reference::LinearResult exact = reference::linear(x, w, {kTokens, kIn, kOut});
  std::vector<double> steps;
  reference::int8_rounded(x, kIn, &steps);
  for (std::int64_t token = 0; token < kTokens; ++token) {
    for (std::int64_t row = 0; row < kOut; ++row) {
      double bound = 0.0;
      for (std::int64_t col = 0; col < kIn; ++col) {
        bound += 0.5 * steps[static_cast<std::size_t>(token * kIn + col)] * std::abs(double{w[static_cast<std::size_t>(row * kIn + col)]});
      }
      const auto idx = static_cast<std::size_t>(token * kOut + row);
      EXPECT_NEAR(y[idx], exact.y[idx], bound + 1e-5 * exact.magnitude[idx]);
    }
  }
}

TEST(LinearLoFi, IsExactWhenInt8HoldsTheActivations) {
  Device device(2);
  constexpr std::int64_t kIn = 64, kOut = 33, kTokens = 5;
  std::vector<float> x(kTokens * kIn);
  for (std::size_t idx = 0; idx < x.size(); ++idx) {
    const float power = std::ldexp(1.0F, static_cast<int>(idx / 16 % 3) - 1);  // a step of its own in each block
    x[idx] = power * (idx % 16 == 3 ? 127.0F : static_cast<float>(static_cast<int>(idx * 29 % 255) - 127));
  }
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    std::vector<float> w(kOut * kIn);
    for (std::size_t idx = 0; idx < w.size(); ++idx)
      w[idx] = static_cast<float>(static_cast<int>(idx * 13 % 15) - 7) / 4.0F;  // three bits hold them
    const LinearConfig cfg = lofi(w, {kOut, kIn}, dtype);
    const std::vector<float> y = to_float_vector(linear(activation(x, {kTokens, kIn}, device), cfg));
    const reference::LinearResult exact = reference::linear(x, to_float_vector(cfg.input_tensor_b.tensor), {kTokens, kIn, kOut});
    for (std::size_t idx = 0; idx < y.size(); ++idx) ASSERT_EQ(double{y[idx]}, exact.y[idx]) << to_string(dtype) << " at " << idx;
  }
}

TEST(LinearLoFi, UntransposedWeightsMeetInt8RoundedActivations) {
  Device device(1);
  constexpr std::int64_t kIn = 40, kOut = 50, kTokens = 3;
  const std::vector<float> x = random_values(kTokens * kIn, 11);
  const LinearConfig cfg = lofi(random_values(kIn * kOut, 12), {kIn, kOut}, DataType::bfloat8_b, false);
  const std::vector<float> w = reference::transpose(to_float_vector(cfg.input_tensor_b.tensor), kIn, kOut);
  const std::vector<float> y = to_float_vector(linear(activation(x, {kTokens, kIn}, device), cfg));
  const reference::LinearResult exact = reference::linear(reference::int8_rounded(x, kIn), w, {kTokens, kIn, kOut});
  for (std::size_t idx = 0; idx < y.size(); ++idx) ASSERT_NEAR(y[idx], exact.y[idx], (kIn + 3) * kEpsilon * exact.magnitude[idx]);
}

TEST(LinearLoFi, ZeroTinyAndHugeBlocksAreHarmless) {
  Device device(1);
  std::vector<float> x(64, 0.0F);
  std::fill_n(x.begin() + 16, 16, 1e-43F);  // a step that is denormal
  std::fill_n(x.begin() + 32, 16, 1e30F);
  x[17] = 0.0F;
  std::vector<float> w(32 * 64, 1.0F);
  std::fill_n(w.begin(), 64, 1e-38F);
  std::fill_n(w.begin() + 64, 64, 1e-36F);
  std::fill_n(w.begin() + 128, 64, 3e38F);
  const LinearConfig cfg = lofi(w, {32, 64}, DataType::bfloat8_b);
  const std::vector<float> stored = to_float_vector(cfg.input_tensor_b.tensor);
  const std::vector<float> y = to_float_vector(linear(activation(x, {1, 64}, device), cfg));
  EXPECT_NEAR(y[0], 16 * 1e30 * double{stored[0]}, 16 * 1e30 * 0x1p-119);  // blocks below 2^-119 may count as zero
  EXPECT_NEAR(y[1], 16 * 1e30 * double{stored[64]}, 1e-12);
  EXPECT_EQ(y[2], std::numeric_limits<float>::infinity());
  EXPECT_NEAR(y[3], 16e30, 16e30 * 1e-6);
}

TEST(LinearLoFi, NonFiniteActivationsAndWeightsGiveNonFiniteResults) {
  Device device(1);
  const std::vector<float> ones(32, 1.0F);
  const LinearConfig cfg = lofi(std::vector<float>(32 * 32, 1.0F), {32, 32}, DataType::bfloat8_b);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    std::vector<float> x = ones;
    x[20] = bad;
    for (const float value : to_float_vector(linear(activation(x, {1, 32}, device), cfg))) EXPECT_TRUE(std::isnan(value));
  }
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    std::vector<float> w(32 * 32, 1.0F);
    w[5 * 32 + 9] = std::numeric_limits<float>::infinity();
    const std::vector<float> y = to_float_vector(linear(activation(ones, {1, 32}, device), lofi(w, {32, 32}, dtype)));
    for (std::size_t row = 0; row < y.size(); ++row) EXPECT_EQ(std::isfinite(y[row]), row != 5) << to_string(dtype) << " row " << row;
  }
}

}  // namespace
}  // namespace meshseek

// The products that bench/ measures, in the same orientations and stacks, a sixteenth as large.
#include "tests/support/operator_cases.hpp"

#include <cmath>
#include <limits>
#include <numeric>

#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"
#include "reference/linear.hpp"

namespace meshseek {
namespace {

using namespace testing;

constexpr std::int64_t kTokens = 5;

LinearCase scaled(LinearCase one) {
  one.in = std::max<std::int64_t>(32, one.in / 16);
  one.out = std::max<std::int64_t>(32, one.out / 16);
  one.matrices = std::min<std::int64_t>(one.matrices, 8);
  return one;
}

LinearConfig config_of(const LinearCase& one, DataType dtype) {
  LinearConfig cfg;
  Shape shape;
  if (one.matrices > 1) shape.push_back(one.matrices);
  shape.push_back(one.transpose_b ? one.out : one.in);
  shape.push_back(one.transpose_b ? one.in : one.out);
  cfg.input_tensor_b = weight_slot(random_values(volume(shape), 2), shape, dtype, Layout::tile);
  cfg.transpose_b = one.transpose_b;
  cfg.dtype = DataType::float32;
  cfg.compute_kernel_config.math_fidelity = MathFidelity::HiFi4;
  return cfg;
}

/// Matrix `idx` as [out, in].
std::vector<float> matrix_of(const LinearCase& one, const std::vector<float>& values, std::int64_t idx) {
  const auto begin = values.begin() + idx * one.in * one.out;
  const std::vector<float> matrix(begin, begin + one.in * one.out);
  return one.transpose_b ? matrix : reference::transpose(matrix, one.in, one.out);
}

/// Every row of x against one matrix of the stack; `y` are the rows' results.
void expect_product(const LinearCase& one, std::span<const float> x, const std::vector<float>& matrix, std::span<const float> y) {
  const auto num_rows = static_cast<std::int64_t>(y.size()) / one.out;
  const reference::LinearResult exact = reference::linear(x, matrix, {num_rows, one.in, one.out});
  constexpr double kEpsilon = std::numeric_limits<float>::epsilon() / 2.0;
  for (std::size_t idx = 0; idx < y.size(); ++idx)
    ASSERT_NEAR(y[idx], exact.y[idx], static_cast<double>(one.in + 2) * kEpsilon * exact.magnitude[idx]) << one.name << " at " << idx;
}

/// x [T, in] for a matrix, [T, heads, in] for heads: row t of head h is row t * heads + h.
void expect_linear(const LinearCase& one, const LinearConfig& cfg, Device& device) {
  const std::vector<float> x = random_values(kTokens * one.matrices * one.in, 3);
  const Shape shape = one.matrices > 1 ? Shape{kTokens, one.matrices, one.in} : Shape{kTokens, one.in};
  const std::vector<float> y = to_float_vector(linear(activation(x, shape, device), cfg));
  const std::vector<float> weights = to_float_vector(cfg.input_tensor_b.tensor);
  for (std::int64_t row = 0; row < kTokens * one.matrices; ++row) {
    expect_product(one, std::span(x).subspan(static_cast<std::size_t>(row * one.in), static_cast<std::size_t>(one.in)),
                   matrix_of(one, weights, row % one.matrices),
                   std::span(y).subspan(static_cast<std::size_t>(row * one.out), static_cast<std::size_t>(one.out)));
  }
}

/// Expert e has e rows.
void expect_grouped_linear(const LinearCase& one, const LinearConfig& cfg, Device& device) {
  std::vector<std::int64_t> offsets = {0};
  for (std::int64_t expert = 0; expert < one.matrices; ++expert) offsets.push_back(offsets.back() + expert);
  const std::vector<float> x = random_values(offsets.back() * one.in, 3);
  const std::vector<float> y = to_float_vector(grouped_linear(activation(x, {offsets.back(), one.in}, device), offsets, cfg));
  const std::vector<float> weights = to_float_vector(cfg.input_tensor_b.tensor);
  for (std::int64_t expert = 1; expert < one.matrices; ++expert) {
    const auto first = static_cast<std::size_t>(offsets[static_cast<std::size_t>(expert)]), count = static_cast<std::size_t>(expert);
    expect_product(one, std::span(x).subspan(first * static_cast<std::size_t>(one.in), count * static_cast<std::size_t>(one.in)),
                   matrix_of(one, weights, expert),
                   std::span(y).subspan(first * static_cast<std::size_t>(one.out), count * static_cast<std::size_t>(one.out)));
  }
}

TEST(OperatorCases, ProductsOfThePublishedModelsAgreeWithFloat64) {
  Device device(2);
  for (const LinearCase& full : kLinearCases) {
    const LinearCase one = scaled(full);
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      const LinearConfig cfg = config_of(one, dtype);
      one.experts_per_token > 0 ? expect_grouped_linear(one, cfg, device) : expect_linear(one, cfg, device);
    }
  }
}

}  // namespace
}  // namespace meshseek

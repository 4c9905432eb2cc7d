#include "ops/linear.hpp"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "ops/test_tensors.hpp"
#include "reference/linear.hpp"

namespace meshseek {
namespace {

using namespace testing;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon() / 2.0;  // of one rounding

struct WeightKind {
  DataType dtype = DataType::float32;
  Layout layout = Layout::tile;
  bool transpose_b = true;
};

std::vector<WeightKind> weight_kinds() {
  std::vector<WeightKind> kinds;
  for (const bool transpose_b : {true, false}) {
    for (const DataType dtype : {DataType::float32, DataType::bfloat16, DataType::bfloat8_b, DataType::bfloat4_b}) {
      kinds.push_back({dtype, Layout::tile, transpose_b});
      if (!is_block_float(dtype)) kinds.push_back({dtype, Layout::row_major, transpose_b});
    }
  }
  return kinds;
}

/// One product and everything needed to judge it.
struct Product {
  reference::LinearShape shape = {};
  Tensor x = {};
  LinearConfig cfg = {};
  std::vector<float> x_values = {};
  std::vector<float> w_values = {};  ///< [out, in] as decoded
};

Product make_product(const reference::LinearShape& shape, const WeightKind& kind, MathFidelity fidelity, Device& device, DataType x_dtype) {
  Product product = {.shape = shape, .x = random_activation({shape.num_tokens, shape.in}, 1, device, x_dtype)};
  const Shape stored = kind.transpose_b ? Shape{shape.out, shape.in} : Shape{shape.in, shape.out};
  product.cfg.input_tensor_b = weight_slot(random_values(volume(stored), 2), stored, kind.dtype, kind.layout);
  product.cfg.transpose_b = kind.transpose_b;
  product.cfg.dtype = DataType::float32;
  product.cfg.compute_kernel_config.math_fidelity = fidelity;
  product.x_values = to_float_vector(product.x);
  product.w_values = to_float_vector(product.cfg.input_tensor_b.tensor);
  if (!kind.transpose_b) product.w_values = reference::transpose(product.w_values, shape.in, shape.out);
  return product;
}

std::string describe(const Product& product) {
  const Tensor& weight = product.cfg.input_tensor_b.tensor;
  return fmt::format("x {} {} weight {} {} {} {}", to_string(product.x.shape()), to_string(product.x.dtype()), to_string(weight.shape()),
                     to_string(weight.dtype()), to_string(weight.layout()), enum_name(product.cfg.compute_kernel_config.math_fidelity));
}

/// |y - exact| <= c * roundings * epsilon * sum |x w|: each product is rounded, and a sum of k in sixteen lanes rounds at most k / 16 + 4 times.
void expect_rounded_float32_sum(const Product& product, std::span<const float> x, std::span<const float> w, std::int64_t roundings) {
  const std::vector<float> y = to_float_vector(linear(product.x, product.cfg));
  const reference::LinearResult exact = reference::linear(x, w, product.shape);
  ASSERT_EQ(y.size(), exact.y.size()) << describe(product);
  for (std::size_t idx = 0; idx < y.size(); ++idx) {
    const double bound = static_cast<double>(roundings) * kEpsilon * exact.magnitude[idx];
    ASSERT_LE(std::abs(double{y[idx]} - exact.y[idx]), bound) << describe(product) << " at " << idx;
  }
}

std::int64_t roundings_of_lanes(const Product& product) {
  return product.cfg.transpose_b ? ceil_div(product.shape.in, 16) + 6 : product.shape.in + 2;
}

std::vector<float> rounded(std::vector<float> values) {
  for (float& value : values) value = round_to_bf16(value);
  return values;
}

const std::vector<std::pair<std::int64_t, std::int64_t>> kOddShapes = {{1, 1},   {3, 2},  {15, 17}, {16, 16}, {17, 31}, {31, 33}, {32, 32},
                                                                       {33, 64}, {40, 5}, {47, 65}, {64, 48}, {70, 70}, {1, 70},  {70, 1}};

TEST(Linear, HiFi4IsTheFloat32SumOfExactProductsForEveryStorageAndOddShape) {
  Device device(2);
  for (const WeightKind& kind : weight_kinds()) {
    for (const auto& [in, out] : kOddShapes) {
      for (const std::int64_t num_tokens : {1, 2, 5, 33}) {
        for (const DataType x_dtype : {DataType::float32, DataType::bfloat16}) {
          const Product product = make_product({num_tokens, in, out}, kind, MathFidelity::HiFi4, device, x_dtype);
          expect_rounded_float32_sum(product, product.x_values, product.w_values, roundings_of_lanes(product));
        }
      }
    }
  }
}

TEST(Linear, HiFi2IsTheSameOnInputsRoundedToBfloat16) {
  Device device(2);
  for (const WeightKind& kind : weight_kinds()) {
    for (const auto& [in, out] : kOddShapes) {
      const Product product = make_product({5, in, out}, kind, MathFidelity::HiFi2, device, DataType::float32);
      expect_rounded_float32_sum(product, rounded(product.x_values), rounded(product.w_values), roundings_of_lanes(product));
    }
  }
}

TEST(Linear, HiFi4DoesNotRoundToBfloat16) {
  Device device(1);
  const Product product = make_product({2, 64, 8}, {}, MathFidelity::HiFi4, device, DataType::float32);
  const std::vector<float> y = to_float_vector(linear(product.x, product.cfg));
  const reference::LinearResult coarse = reference::linear(rounded(product.x_values), rounded(product.w_values), product.shape);
  double worst = 0.0;
  for (std::size_t idx = 0; idx < y.size(); ++idx)
    worst = std::max(worst, std::abs(double{y[idx]} - coarse.y[idx]) / coarse.magnitude[idx]);
  EXPECT_GT(worst, 1e-4);
}

TEST(Linear, WeightPaddingIsNotReadAsValues) {
  Device device(1);
  const auto ones = std::vector<float>(3 * 5, 1.0F);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16, DataType::bfloat8_b, DataType::bfloat4_b}) {
    const Shape shape = {3, 5};
    const float padding = is_block_float(dtype) ? 64.0F : std::numeric_limits<float>::infinity();
    const auto bytes = std::make_shared<std::vector<std::byte>>(encode(ones, shape, dtype, Layout::tile, padding));
    LinearConfig cfg;
    cfg.input_tensor_b.tensor = Tensor(shape, dtype, Layout::tile, *bytes, bytes);
    const float expected = 5.0F * to_float_vector(cfg.input_tensor_b.tensor)[0];
    for (const MathFidelity fidelity : {MathFidelity::HiFi4, MathFidelity::HiFi2, MathFidelity::LoFi}) {
      if (fidelity == MathFidelity::LoFi && !is_block_float(dtype)) continue;
      cfg.compute_kernel_config.math_fidelity = fidelity;
      const Tensor y = linear(activation(std::vector<float>(5, 1.0F), {1, 5}, device), cfg);
      EXPECT_THAT(to_float_vector(y), ::testing::Each(::testing::FloatNear(expected, 1e-6F * std::abs(expected)))) << to_string(dtype);
    }
  }
}

TEST(Linear, EveryHeadHasItsOwnMatrix) {
  Device device(2);
  constexpr std::int64_t kHeads = 3, kIn = 20, kOut = 37, kTokens = 4;
  for (const WeightKind& kind : weight_kinds()) {
    const Shape stored = kind.transpose_b ? Shape{kHeads, kOut, kIn} : Shape{kHeads, kIn, kOut};
    LinearConfig cfg;
    cfg.input_tensor_b = weight_slot(random_values(volume(stored), 3), stored, kind.dtype, kind.layout);
    cfg.transpose_b = kind.transpose_b;
    cfg.compute_kernel_config.math_fidelity = MathFidelity::HiFi4;
    const std::vector<float> weights = to_float_vector(cfg.input_tensor_b.tensor);
    for (const std::int64_t x_heads : {kHeads, std::int64_t{1}}) {
      const Tensor x = random_activation({kTokens, x_heads, kIn}, 4, device);
      const Tensor y = linear(x, cfg);
      ASSERT_EQ(y.shape(), (Shape{kTokens, kHeads, kOut}));
      const auto x_values = x.data<float>();
      for (std::int64_t head = 0; head < kHeads; ++head) {
        std::vector<float> w(weights.begin() + head * kIn * kOut, weights.begin() + (head + 1) * kIn * kOut);
        if (!kind.transpose_b) w = reference::transpose(w, kIn, kOut);
        for (std::int64_t token = 0; token < kTokens; ++token) {
          const auto row = x_values.subspan(static_cast<std::size_t>((token * x_heads + head % x_heads) * kIn), kIn);
          const reference::LinearResult exact = reference::linear(row, w, {1, kIn, kOut});
          for (std::int64_t col = 0; col < kOut; ++col) {
            const auto at = static_cast<std::size_t>(col);
            EXPECT_NEAR(y.data<float>()[static_cast<std::size_t>((token * kHeads + head) * kOut + col)], exact.y[at],
                        24 * kEpsilon * exact.magnitude[at]);
          }
        }
      }
    }
  }
}

TEST(Linear, BiasIsAddedAndTheResultRoundedOnceToItsType) {
  Device device(1);
  const std::vector<float> x = random_values(2 * 16, 5);
  const std::vector<float> w = random_values(3 * 16, 6);
  const std::vector<float> bias = {100.0F, -3.5F, 0.0F};
  LinearConfig cfg;
  cfg.compute_kernel_config.math_fidelity = MathFidelity::HiFi4;
  for (const bool transpose_b : {true, false}) {
    cfg.transpose_b = transpose_b;
    cfg.input_tensor_b = transpose_b ? weight_slot(w, {3, 16}) : weight_slot(reference::transpose(w, 3, 16), {16, 3});
    cfg.bias = {};
    cfg.dtype = DataType::float32;
    const std::vector<float> plain = to_float_vector(linear(activation(x, {2, 16}, device), cfg));
    cfg.bias = weight_slot(bias, {3});
    cfg.dtype = DataType::bfloat16;
    const Tensor y = linear(activation(x, {2, 16}, device), cfg);
    ASSERT_EQ(y.dtype(), DataType::bfloat16);
    for (std::size_t idx = 0; idx < 6; ++idx) EXPECT_EQ(y.data<bf16>()[idx], to_bf16(plain[idx] + bias[idx % 3]));
  }
}

TEST(Linear, ResultTypeFollowsTheFidelityWhenUnset) {
  Device device(1);
  const Tensor x = random_activation({1, 32}, 1, device);
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(random_values(32 * 32, 2), {32, 32}, DataType::bfloat8_b, Layout::tile);
  cfg.compute_kernel_config.math_fidelity = MathFidelity::HiFi4;
  EXPECT_EQ(linear(x, cfg).dtype(), DataType::float32);
  for (const MathFidelity fidelity : {MathFidelity::HiFi2, MathFidelity::LoFi}) {
    cfg.compute_kernel_config.math_fidelity = fidelity;
    EXPECT_EQ(linear(x, cfg).dtype(), DataType::bfloat16);
  }
}

TEST(Linear, NoTokensGiveNoRows) {
  Device device(2);
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(random_values(32 * 32, 2), {32, 32}, DataType::bfloat8_b, Layout::tile);
  EXPECT_EQ(linear(Tensor::empty({0, 32}, DataType::float32, &device), cfg).shape(), (Shape{0, 32}));
}

TEST(Linear, ReportsShapesFidelityAndWeightType) {
  Device device(1);
  std::string log;
  device.set_observer([&](const OpRecord& record) { log += fmt::format("{} {}", record.op, record.detail); });
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(random_values(64 * 32, 2), {64, 32}, DataType::bfloat4_b, Layout::tile);
  linear(random_activation({3, 32}, 1, device), cfg);
  EXPECT_EQ(log, "linear x [3, 32] weight [64, 32] bfloat4_b HiFi2");
}

}  // namespace
}  // namespace meshseek

#include "ops/binary.hpp"

#include <cmath>

#include "ops/test_tensors.hpp"
#include "reference/norm.hpp"

namespace meshseek {
namespace {

using namespace testing;

TEST(Mul, MultipliesInFloat32AndRoundsOnce) {
  Device device(2);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const Tensor a = random_activation({20, 33}, 1, device, dtype);
    const Tensor b = random_activation({20, 33}, 2, device, dtype);
    const Tensor y = mul(a, b, {});
    ASSERT_EQ(y.dtype(), dtype);
    const std::vector<float> av = to_float_vector(a), bv = to_float_vector(b), yv = to_float_vector(y);
    for (std::size_t idx = 0; idx < yv.size(); ++idx) {
      const float product = av[idx] * bv[idx];
      EXPECT_EQ(yv[idx], dtype == DataType::float32 ? product : round_to_bf16(product));
    }
  }
}

TEST(Mul, WithSiluIsTheProductOfSwiGlu) {
  Device device(1);
  std::vector<float> a = random_values(66, 3, 4.0F);
  a[0] = -200.0F;  // exp overflows float32: the limit is -0
  a[1] = 200.0F;
  const std::vector<float> b = random_values(66, 4);
  const MulConfig cfg = {.input_tensor_a_activations = {UnaryOpType::SILU}};
  const std::vector<float> y = to_float_vector(mul(activation(a, {2, 33}, device), activation(b, {2, 33}, device), cfg));
  for (std::size_t idx = 0; idx < y.size(); ++idx) {
    const double expected = reference::silu(a[idx]) * double{b[idx]};
    EXPECT_NEAR(y[idx], expected, 1e-6 * std::abs(expected) + 1e-30) << a[idx];
  }
}

TEST(Mul, AppliesActivationsInOrderAndTakesTheConfiguredType) {
  Device device(1);
  const MulConfig cfg = {.input_tensor_a_activations = {UnaryOpType::SIGMOID, UnaryOpType::SILU}, .dtype = DataType::bfloat16};
  const Tensor y = mul(activation(std::vector<float>{0.0F}, {1, 1}, device), activation(std::vector<float>{1.0F}, {1, 1}, device), cfg);
  EXPECT_EQ(y.data<bf16>()[0], to_bf16(0.5F / (1.0F + std::exp(-0.5F))));
}

TEST(Binary, AddsInFloat32) {
  Device device(1);
  const Tensor a = activation(std::vector<float>{1.0F, 256.0F}, {1, 2}, device, DataType::bfloat16);
  const Tensor b = activation(std::vector<float>{2.0F, 1.0F}, {1, 2}, device, DataType::bfloat16);
  EXPECT_THAT(to_float_vector(binary(a, b, {.dtype = DataType::float32})), ::testing::ElementsAre(3.0F, 257.0F));
  EXPECT_THAT(to_float_vector(binary(a, b, {})), ::testing::ElementsAre(3.0F, 256.0F));  // 257 is no bfloat16: rounds to even
}

TEST(Binary, NamesBothShapes) {
  Device device(1);
  const Tensor a = random_activation({2, 3}, 1, device);
  const Tensor b = random_activation({3, 2}, 1, device);
  EXPECT_EQ(message_of<ShapeError>([&] { mul(a, b, {}); }), "[mul] a is [2, 3] but b is [3, 2]; expected equal shapes");
  EXPECT_EQ(message_of<ShapeError>([&] { binary(a, b, {}); }), "[binary] a is [2, 3] but b is [3, 2]; expected equal shapes");
}

}  // namespace
}  // namespace meshseek

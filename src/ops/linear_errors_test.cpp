#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;

LinearConfig config(const Shape& shape, DataType dtype = DataType::float32, Layout layout = Layout::row_major) {
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(random_values(volume(shape), 1), shape, dtype, layout);
  return cfg;
}

TEST(LinearErrors, NameBothShapesWhenTheInnerDimensionsDiffer) {
  Device device(1);
  EXPECT_EQ(
      message_of<ShapeError>([&] { linear(random_activation({2, 7}, 1, device), config({4, 8})); }),
      "[linear] x is [2, 7] but the weight is [4, 8] (transpose_b true): their inner dimensions must agree; is this the right store?");
  LinearConfig plain = config({4, 8});
  plain.transpose_b = false;
  EXPECT_EQ(
      message_of<ShapeError>([&] { linear(random_activation({2, 8}, 1, device), plain); }),
      "[linear] x is [2, 8] but the weight is [4, 8] (transpose_b false): their inner dimensions must agree; is this the right store?");
}

TEST(LinearErrors, RefuseRanksAndHeadsThatDoNotFit) {
  Device device(1);
  EXPECT_EQ(message_of<ShapeError>([&] { linear(random_activation({2, 3, 8}, 1, device), config({4, 8})); }),
            "[linear] x is [2, 3, 8] but the weight is [4, 8]; expected x [T, in]");
  EXPECT_EQ(message_of<ShapeError>([&] { linear(random_activation({2, 2, 8}, 1, device), config({3, 4, 8})); }),
            "[linear] x is [2, 2, 8] but the weight is [3, 4, 8]; expected x [T, heads, in] or [T, 1, in]");
  EXPECT_EQ(message_of<ShapeError>([&] { linear(random_activation({2, 8}, 1, device), config({3, 4, 8})); }),
            "[linear] x is [2, 8] but the weight is [3, 4, 8]; expected x [T, heads, in] or [T, 1, in]");
}

TEST(LinearErrors, RefuseLoFiWithoutBlockFloat) {
  Device device(1);
  LinearConfig cfg = config({4, 8}, DataType::bfloat16);
  cfg.compute_kernel_config.math_fidelity = MathFidelity::LoFi;
  EXPECT_EQ(message_of<ConfigError>([&] { linear(random_activation({2, 8}, 1, device), cfg); }),
            "[linear.compute_kernel_config.math_fidelity] LoFi needs a bfloat8_b or bfloat4_b weight but it is bfloat16; set HiFi2");
}

TEST(LinearErrors, RefuseABiasOfAnotherLength) {
  Device device(1);
  LinearConfig cfg = config({4, 8});
  cfg.bias = weight_slot(random_values(5, 1), {5});
  EXPECT_EQ(message_of<ShapeError>([&] { linear(random_activation({2, 8}, 1, device), cfg); }),
            "[linear] the bias is [5] but the weight is [4, 8]; expected one value per output");
}

TEST(LinearErrors, RefuseWeightsThatAreNotLoadedOrNoFloats) {
  Device device(1);
  const Tensor x = random_activation({2, 8}, 1, device);
  EXPECT_THAT(message_of<ShapeError>([&] { linear(x, LinearConfig{}); }),
              ::testing::StartsWith("[linear] x is [2, 8] but the weight is []"));
  LinearConfig freed = config({4, 8});
  freed.input_tensor_b.tensor.deallocate();
  EXPECT_EQ(message_of<ShapeError>([&] { linear(x, freed); }), "[weight] [4, 8] is not loaded or was deallocated");
  EXPECT_EQ(message_of<ShapeError>([&] { linear(x, config({4, 8}, DataType::int32)); }), "[weight] [4, 8] is int32; expected a float type");
}

TEST(LinearErrors, RefuseActivationsThatCannotBeRead) {
  Device device(1);
  const LinearConfig cfg = config({4, 8});
  EXPECT_EQ(message_of<ShapeError>([&] { linear(Tensor::zeros({2, 8}, DataType::float32), cfg); }),
            "[linear] the input [2, 8] belongs to no device; expected an activation");
  EXPECT_EQ(message_of<ShapeError>([&] { linear(Tensor::zeros({2, 8}, DataType::int32, &device), cfg); }),
            "[ops] an activation [2, 8] is int32; expected float32 or bfloat16");
  Tensor freed = random_activation({2, 8}, 1, device);
  freed.deallocate();
  EXPECT_EQ(message_of<ShapeError>([&] { linear(freed, cfg); }), "[ops] an activation [2, 8] was deallocated; expected its storage");
  const Tensor dense = make_tensor(random_values(16, 1), {2, 8}, DataType::float32, Layout::tile);
  const Tensor tiled({2, 8}, DataType::float32, Layout::tile, dense.bytes(), std::make_shared<Tensor>(dense), &device);
  EXPECT_EQ(message_of<ShapeError>([&] { linear(tiled, cfg); }), "[ops] an activation [2, 8] is TILE; expected ROW_MAJOR");
}

TEST(LinearErrors, RefuseOffsetsThatDoNotCoverTheRows) {
  Device device(1);
  const Tensor x = random_activation({6, 8}, 1, device);
  const LinearConfig cfg = config({2, 4, 8});
  for (const std::vector<std::int64_t>& offsets : std::vector<std::vector<std::int64_t>>{{0, 6}, {0, 3, 5}, {1, 3, 6}, {}, {0, 2, 4, 6}}) {
    EXPECT_EQ(message_of<ShapeError>([&] { grouped_linear(x, offsets, cfg); }),
              "[grouped_linear] x is [6, 8], the weight [2, 4, 8], and there are " + std::to_string(offsets.size()) +
                  " offsets; expected [R, in], [E, out, in] and E + 1 from 0 to R");
  }
  EXPECT_EQ(message_of<ShapeError>([&] { grouped_linear(x, std::vector<std::int64_t>{0, 8, 6}, cfg); }),
            "[grouped_linear] the offsets descend from 8 to 6; expected ascending row numbers");
}

}  // namespace
}  // namespace meshseek

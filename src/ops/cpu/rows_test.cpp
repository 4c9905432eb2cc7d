#include "ops/cpu/rows.hpp"

#include "ops/test_tensors.hpp"

namespace meshseek::cpu {
namespace {

using namespace meshseek::testing;
using ::testing::ElementsAre;

TEST(Rows, AreReadAsFloat32) {
  Device device(1);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const RowReader reader(activation(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2}, device, dtype), 2);
    EXPECT_EQ(reader.num_rows(), 3);
  }
  const Tensor x = activation(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2}, device, DataType::bfloat16);
  std::vector<float> row(3, -7.0F);
  RowReader(x, 2).read(1, row.data());
  EXPECT_THAT(row, ElementsAre(3, 4, -7));
}

TEST(Rows, AreWrittenWithTiesToEven) {
  Device device(1);
  Tensor y = Tensor::zeros({2, 3}, DataType::bfloat16, &device);
  const RowWriter writer(y, 3);
  writer.write(0, std::vector<float>{257.0F, 259.0F, -257.0F}.data());
  writer.write_at(1, 1, std::vector<float>{1.0F, 2.0F}.data(), 1);
  EXPECT_THAT(to_float_vector(y), ElementsAre(256.0F, 260.0F, -256.0F, 0.0F, 1.0F, 0.0F));
}

TEST(Rows, RefuseIntegers) {
  Device device(1);
  Tensor integers = Tensor::zeros({2, 3}, DataType::int32, &device);
  EXPECT_EQ(message_of<ShapeError>([&] { RowReader(integers, 3); }), "[ops] an activation [2, 3] is int32; expected float32 or bfloat16");
  EXPECT_EQ(message_of<ShapeError>([&] { RowWriter(integers, 3); }), "[ops] an activation [2, 3] is int32; expected float32 or bfloat16");
}

}  // namespace
}  // namespace meshseek::cpu

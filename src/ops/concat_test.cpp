#include "ops/concat.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ops/memory.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;
using ::testing::ElementsAre;

Tensor counting(const Shape& shape, Device& device, DataType dtype = DataType::float32) {
  std::vector<float> values(static_cast<std::size_t>(volume(shape)));
  for (std::size_t idx = 0; idx < values.size(); ++idx) values[idx] = static_cast<float>(idx);
  return activation(values, shape, device, dtype);
}

TEST(Concat, PutsTheColumnsOfBBehindThoseOfA) {
  Device device(1);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const Tensor y = concat(counting({2, 1, 2}, device, dtype), counting({2, 1, 1}, device, dtype), {});
    EXPECT_EQ(y.shape(), (Shape{2, 1, 3}));
    EXPECT_EQ(y.dtype(), dtype);
    EXPECT_THAT(to_float_vector(y), ElementsAre(0, 1, 0, 2, 3, 1));
  }
}

TEST(PadColumns, PutsZerosOnTheRight) {
  Device device(1);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const Tensor y = pad_columns(counting({2, 2}, device, dtype), 4);
    EXPECT_EQ(y.shape(), (Shape{2, 4}));
    EXPECT_EQ(y.dtype(), dtype);
    EXPECT_THAT(to_float_vector(y), ElementsAre(0, 1, 0, 0, 2, 3, 0, 0));
  }
  EXPECT_EQ(pad_columns(counting({0, 2}, device), 3).shape(), (Shape{0, 3}));
  EXPECT_THAT(message_of([&] {
                pad_columns(counting({2, 2}, device), 1);
              }),
              ::testing::HasSubstr("[pad_columns] [2, 2] has more than 1 columns"));
}

TEST(Concat, RefusesWhatCannotBeJoined) {
  Device device(1);
  const Tensor a = counting({2, 3}, device);
  EXPECT_EQ(message_of<ShapeError>([&] {
              concat(a, counting({3, 3}, device), {});
            }),
            "[concat] a is [2, 3] float32 but b is [3, 3] float32; expected equal types and outer dimensions");
  EXPECT_EQ(message_of<ShapeError>([&] {
              concat(a, counting({2, 3}, device, DataType::bfloat16), {});
            }),
            "[concat] a is [2, 3] float32 but b is [2, 3] bfloat16; expected equal types and outer dimensions");
  EXPECT_EQ(message_of<ConfigError>([&] { concat(a, a, {.dim = 0}); }), "[concat.dim] 0; only the last dimension is supported: -1");
  EXPECT_EQ(message_of<ShapeError>([&] { concat(a, Tensor::empty({}, DataType::float32, &device), {}); }),
            "[concat] the input is [] float32 ROW_MAJOR; expected ROW_MAJOR rows of float32 or bfloat16");
}

TEST(SliceColumns, CopiesTheColumnsAsked) {
  Device device(1);
  EXPECT_THAT(to_float_vector(slice_columns(counting({2, 4}, device), 1, 3)), ElementsAre(1, 2, 5, 6));
  EXPECT_THAT(to_float_vector(slice_columns(counting({2, 1, 3}, device, DataType::bfloat16), 2, 3)), ElementsAre(2, 5));
  for (const auto& [begin, end] : {std::pair{-1, 2}, {2, 2}, {3, 1}, {0, 5}}) {
    EXPECT_EQ(message_of<ShapeError>([&] {
                slice_columns(counting({2, 4}, device), begin, end);
              }),
              fmt::format("[slice_columns] columns {} to {} of [2, 4] do not exist; expected 0 <= begin < end <= 4", begin, end));
  }
}

TEST(TakeRows, CopiesRowsInAnyOrderAndRepeatsThem) {
  Device device(1);
  const Tensor x = counting({3, 1, 2}, device);
  const Tensor y = take_rows(x, std::vector<std::int64_t>{2, 0, 2});
  EXPECT_EQ(y.shape(), (Shape{3, 1, 2}));
  EXPECT_THAT(to_float_vector(y), ElementsAre(4, 5, 0, 1, 4, 5));
  EXPECT_EQ(take_rows(x, {}).shape(), (Shape{0, 1, 2}));
  const Tensor integers = Tensor::from<std::int32_t>({2, 1}, std::vector<std::int32_t>{1 << 30, -5}, &device);
  EXPECT_THAT(take_rows(integers, std::vector<std::int64_t>{1, 0}).data<std::int32_t>(), ElementsAre(-5, 1 << 30));
}

TEST(TakeRows, TakesTheirInt8FormToo) {
  Device device(1);
  Tensor x = counting({3, 20}, device);
  const Int8Rows codes = make_int8_rows(3, 20, device);
  for (std::int64_t row = 0; row < 3; ++row) {
    std::fill_n(codes.codes(row), codes.padded_cols(), static_cast<std::int8_t>(row - 1));
    std::fill_n(codes.scales(row), codes.groups_per_row(), 0.5F * static_cast<float>(row));
    std::fill_n(codes.corrections(row), codes.groups_per_row(), static_cast<std::int32_t>(row) << 20);
  }
  x.set_int8_rows(codes);
  const Int8Rows taken = take_rows(x, std::vector<std::int64_t>{2, 0, 2, 1}).int8_rows();
  ASSERT_EQ(taken.num_rows(), 4);
  for (const auto& [idx, row] : {std::pair{0, 2}, {1, 0}, {2, 2}, {3, 1}}) {
    EXPECT_EQ(taken.codes(idx)[31], row - 1);
    EXPECT_EQ(taken.scales(idx)[1], 0.5F * static_cast<float>(row));
    EXPECT_EQ(taken.corrections(idx)[0], row << 20);
  }
}

TEST(TakeRows, RefusesRowsAndTensorsThatDoNotExist) {
  Device device(1);
  Tensor x = counting({3, 2}, device);
  EXPECT_EQ(message_of<ShapeError>([&] { take_rows(x, std::vector<std::int64_t>{3}); }),
            "[take_rows] row 3 of [3, 2] does not exist; expected 0 to 2");
  EXPECT_EQ(message_of<ShapeError>([&] { take_rows(x, std::vector<std::int64_t>{-1}); }),
            "[take_rows] row -1 of [3, 2] does not exist; expected 0 to 2");
  x.deallocate();
  EXPECT_EQ(message_of<ShapeError>([&] { take_rows(x, std::vector<std::int64_t>{0}); }),
            "[take_rows] the input is [3, 2] float32 ROW_MAJOR, deallocated; expected ROW_MAJOR rows of float32, int32 or bfloat16");
  EXPECT_EQ(message_of<ShapeError>([&] {
              take_rows(Tensor::zeros({3, 2}, DataType::uint32, &device), {});
            }),
            "[take_rows] the input is [3, 2] uint32 ROW_MAJOR; expected ROW_MAJOR rows of float32, int32 or bfloat16");
}

}  // namespace
}  // namespace meshseek

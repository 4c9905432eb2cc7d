// Shapes, the tensor handle, tile layout and block formats by their properties.
#include "tensor/tensor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <set>

#include "base/error.hpp"
#include "tensor/block_float.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<float> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

TEST(Shape, HasAtMostEightDimensions) {
  Shape shape = {1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(shape.size(), 8U);
  EXPECT_EQ(shape.back(), 8);
  EXPECT_THAT([&] { shape.push_back(9); }, ThrowsMessage<ShapeError>(HasSubstr("a shape of 9 dimensions; expected at most 8")));
  EXPECT_THAT([] { return Shape(std::vector<std::int64_t>(9, 1)); }, ThrowsMessage<ShapeError>(HasSubstr("expected at most 8")));
}

TEST(Shape, IsEqualWhenAllItsDimensionsAre) {
  EXPECT_EQ(Shape({2, 3}), Shape(std::vector<std::int64_t>{2, 3}));
  EXPECT_NE(Shape({2, 3}), Shape({2, 3, 1}));
  EXPECT_NE(Shape({2, 3}), Shape({2, 4}));
}

TEST(Shape, VolumeRefusesNegativeDimensionsAndOverflow) {
  EXPECT_EQ(volume({}), 1);
  EXPECT_EQ(volume({3, 0, 5}), 0);
  EXPECT_THROW(volume({2, -1}), ShapeError);
  EXPECT_THROW(volume({std::int64_t{1} << 40, std::int64_t{1} << 40}), ShapeError);
}

TEST(Dtype, NamesReadBackAndUnknownNamesListTheKnownOnes) {
  for (int idx = 0; idx < 8; ++idx) EXPECT_EQ(parse_dtype(to_string(static_cast<DataType>(idx))), static_cast<DataType>(idx));
  EXPECT_THAT([] { parse_dtype("bf8"); }, ThrowsMessage<Error>(HasSubstr("bfloat8_b")));
}

TEST(Bf16, RoundsToNearestEvenAndMakesEveryNaNTheSame) {
  EXPECT_EQ(to_bf16(1.0F).bits, 0x3F80);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3F808000U)).bits, 0x3F80);  // a tie goes to even
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3F818000U)).bits, 0x3F82);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0x3F808001U)).bits, 0x3F81);
  EXPECT_EQ(to_bf16(std::bit_cast<float>(0xFFC12345U)).bits, 0x7FC0);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::infinity()).bits, 0x7F80);
}

TEST(Tensor, SlicesAndReshapesShareStorage) {
  const std::vector<float> values = {0, 1, 2, 3, 4, 5};
  const Tensor tensor = Tensor::from<float>({3, 2}, values);
  Tensor rows = tensor.slice_rows(1, 3);
  rows.mutable_data<float>()[0] = 9.0F;
  EXPECT_EQ(tensor.data<float>()[2], 9.0F);
  EXPECT_EQ(tensor.reshape({2, 3}).data<float>()[2], 9.0F);
  EXPECT_EQ(rows.shape(), (Shape{2, 2}));
}

TEST(Tensor, LosesItsInt8RowsWhereTheyWouldNotFitItsValues) {
  const auto make_rows = [](std::int64_t rows, std::int64_t cols) {
    return Int8Rows(std::shared_ptr<void>(std::calloc(1, Int8Rows::bytes_for(rows, cols)), std::free), rows, cols);
  };
  Tensor tensor = Tensor::zeros({3, 40}, DataType::float32);
  EXPECT_TRUE(tensor.int8_rows().empty());
  EXPECT_THROW(tensor.set_int8_rows(make_rows(2, 40)), ShapeError);
  EXPECT_THROW(tensor.set_int8_rows(make_rows(3, 20)), ShapeError);
  tensor.set_int8_rows(make_rows(3, 40));
  const Tensor copy = tensor;
  EXPECT_EQ(copy.int8_rows().codes(2), tensor.int8_rows().codes(2));
  EXPECT_EQ(copy.int8_rows().padded_cols(), 64);
  EXPECT_TRUE(tensor.slice_rows(1, 3).int8_rows().empty());
  EXPECT_TRUE(tensor.reshape({6, 20}).int8_rows().empty());
  tensor.mutable_data<float>()[0] = 1.0F;
  EXPECT_TRUE(tensor.int8_rows().empty());
  EXPECT_FALSE(copy.int8_rows().empty());
}

TEST(Tensor, AccessThatDoesNotFitIsRefused) {
  const Tensor tensor = Tensor::zeros({3, 2}, DataType::float32);
  EXPECT_THROW(static_cast<void>(tensor.data<std::uint32_t>()), ShapeError);
  EXPECT_THROW(static_cast<void>(tensor.reshape({5})), ShapeError);
  EXPECT_THROW(static_cast<void>(tensor.slice_rows(2, 4)), ShapeError);
  EXPECT_THROW(static_cast<void>(tensor.dim(2)), ShapeError);
  EXPECT_EQ(tensor.dim(-1), 2);
  const std::vector<float> five(5);
  EXPECT_THROW(Tensor::from<float>({3, 2}, five), ShapeError);
  EXPECT_THROW(Tensor::zeros({2}, DataType::bfloat8_b), Error);
}

TEST(Tensor, WeightsAreReadOnlyAndDeallocatedHandlesKeepTheirShape) {
  Tensor weight = make_tensor(std::vector<float>(6, 1.0F), {3, 2}, DataType::float32, Layout::row_major);
  EXPECT_THROW(static_cast<void>(weight.mutable_data<float>()), ShapeError);
  weight.deallocate();
  EXPECT_EQ(weight.shape(), (Shape{3, 2}));
  EXPECT_TRUE(weight.bytes().empty());
  EXPECT_FALSE(weight.has_storage());
  EXPECT_THAT([&] { to_float_vector(weight); }, ThrowsMessage<ShapeError>(HasSubstr("was deallocated")));
}

TEST(Tensor, StorageLivesAsLongAsItsLastHandle) {
  Tensor first = Tensor::from<float>({2}, std::vector<float>{1.0F, 2.0F});
  const Tensor second = first;
  first.deallocate();
  EXPECT_TRUE(second.has_storage());
  EXPECT_EQ(to_float_vector(second), (std::vector<float>{1.0F, 2.0F}));
  EXPECT_FALSE(Tensor().has_storage());
  EXPECT_TRUE(Tensor::zeros({0, 3}, DataType::float32).has_storage());
}

TEST(Tensor, SizesThatDoNotFitInMemoryAddressesAreRefused) {
  const std::int64_t large = std::int64_t{1} << 31;
  EXPECT_THROW(Tensor::empty({large, large}, DataType::float32), ShapeError);
  EXPECT_THROW(Tensor::zeros({large, large}, DataType::float32), ShapeError);
  EXPECT_THROW(storage_bytes({large, large / 2, 1, 1}, DataType::uint8, Layout::tile), ShapeError);
  EXPECT_THROW(storage_bytes({1, std::numeric_limits<std::int64_t>::max()}, DataType::uint8, Layout::tile), ShapeError);
}

TEST(TileLayout, EveryElementOfAMatrixHasAPlaceOfItsOwn) {
  std::set<std::int64_t> seen;
  for (std::int64_t row = 0; row < 64; ++row) {
    for (std::int64_t col = 0; col < 96; ++col) seen.insert(tile_element_index(row, col, 96));
  }
  EXPECT_EQ(seen.size(), 64U * 96U);
  EXPECT_EQ(*seen.rbegin(), 64 * 96 - 1);
  EXPECT_EQ(tile_element_index(0, 16, 96), 256);   // the second face
  EXPECT_EQ(tile_element_index(16, 0, 96), 512);   // the third
  EXPECT_EQ(tile_element_index(0, 32, 96), 1024);  // the second tile
  EXPECT_EQ(tile_element_index(32, 0, 96), 3072);  // the second row of tiles
}

TEST(TileLayout, FloatsOfAnyShapeSurviveBothLayouts) {
  for (const Shape& shape : {Shape{}, Shape{7}, Shape{1, 1}, Shape{33, 17}, Shape{3, 33, 17}, Shape{2, 3, 40, 50}, Shape{4, 0}}) {
    const std::vector<float> values = random_values(volume(shape), 1);
    for (const Layout layout : {Layout::row_major, Layout::tile}) {
      const Tensor tensor = make_tensor(values, shape, DataType::float32, layout);
      EXPECT_EQ(to_float_vector(tensor), values) << to_string(shape) << to_string(layout);
    }
  }
}

TEST(TileLayout, EncodeMakesExactlyStorageBytes) {
  for (const DataType dtype : {DataType::bfloat16, DataType::float32, DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (const Shape& shape : {Shape{5}, Shape{31, 33}, Shape{2, 40, 70}}) {
      const auto storage = encode(random_values(volume(shape), 2), shape, dtype, Layout::tile);
      EXPECT_EQ(static_cast<std::int64_t>(storage.size()), storage_bytes(shape, dtype, Layout::tile));
    }
  }
  EXPECT_EQ(storage_bytes({32, 32}, DataType::bfloat8_b, Layout::tile), 1088);
  EXPECT_EQ(storage_bytes({32, 32}, DataType::bfloat4_b, Layout::tile), 576);
  EXPECT_THROW(storage_bytes({32, 32}, DataType::bfloat8_b, Layout::row_major), ShapeError);
}

TEST(TileLayout, NumbersOutsideOfAnIntegerTypeSaturate) {
  const std::vector<float> values = {-1.0F, 255.5F, 300.0F, 1e20F, -1e20F, std::numeric_limits<float>::quiet_NaN(), 7.9F, -7.9F};
  const auto stored = [&](DataType dtype) { return to_float_vector(make_tensor(values, {8}, dtype, Layout::row_major)); };
  EXPECT_EQ(stored(DataType::uint8), (std::vector<float>{0, 255, 255, 255, 0, 0, 7, 0}));
  EXPECT_EQ(stored(DataType::uint16), (std::vector<float>{0, 255, 300, 65535, 0, 0, 7, 0}));
  EXPECT_EQ(stored(DataType::int32), (std::vector<float>{-1, 255, 300, 2147483648.0F, -2147483648.0F, 0, 7, -7}));
}

TEST(TileLayout, RawElementsAreTilizedLikeFloats) {
  const Shape shape = {3, 33, 17};
  const std::vector<float> values = random_values(volume(shape), 3);
  EXPECT_EQ(tilize_elements(std::as_bytes(std::span(values)), shape, sizeof(float)),
            encode(values, shape, DataType::float32, Layout::tile));
}

TEST(BlockFloat, ErrorsStayWithinHalfAStepOfTheSharedExponent) {
  // Aligning truncates below the 24-bit significand before rounding, so half a step holds up to one part in 2^16 of it; saturation costs a full step.
  for (const auto& [dtype, bits] : {std::pair{DataType::bfloat8_b, 7}, std::pair{DataType::bfloat4_b, 3}}) {
    const std::vector<float> values = random_values(64 * 64, 4);
    const std::vector<float> decoded = to_float_vector(make_tensor(values, {64, 64}, dtype, Layout::tile));
    for (std::size_t begin = 0; begin < values.size(); begin += 16) {
      float largest = 0.0F;
      for (std::size_t idx = begin; idx < begin + 16; ++idx) largest = std::max(largest, std::abs(values[idx]));
      const double step = std::ldexp(1.0, std::ilogb(largest) - (bits - 1));
      for (std::size_t idx = begin; idx < begin + 16; ++idx) {
        const bool saturated = std::abs(values[idx]) > step * ((1 << bits) - 1);
        EXPECT_LE(std::abs(values[idx] - decoded[idx]), saturated ? step : step * 0.5 * (1 + 1e-4)) << values[idx];
      }
    }
  }
}

TEST(BlockFloat, DecodedValuesEncodeToThemselves) {
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    const auto once = to_float_vector(make_tensor(random_values(40 * 70, 5), {40, 70}, dtype, Layout::tile));
    EXPECT_EQ(to_float_vector(make_tensor(once, {40, 70}, dtype, Layout::tile)), once);
  }
}

TEST(BlockFloat, FastRowsEqualTheBitwiseDecoderForEveryExponentAndCode) {
  std::vector<std::uint8_t> tile(kBfloat8TileBytes);
  for (int exponent = 0; exponent < 256; ++exponent) {
    for (int first = 0; first < 256; first += 32) {
      tile[0] = tile[16] = static_cast<std::uint8_t>(exponent);
      for (int idx = 0; idx < 16; ++idx) {
        tile[static_cast<std::size_t>(64 + idx)] = static_cast<std::uint8_t>(first + idx);
        tile[static_cast<std::size_t>(64 + 256 + idx)] = static_cast<std::uint8_t>(first + 16 + idx);
      }
      float row[32];
      decode_tile_row(reinterpret_cast<const std::byte*>(tile.data()), DataType::bfloat8_b, 0, row);
      for (int idx = 0; idx < 32; ++idx) {
        const float expected = decode_code(static_cast<std::uint8_t>(exponent), static_cast<std::uint8_t>(first + idx), 7);
        EXPECT_EQ(std::bit_cast<std::uint32_t>(row[idx]), std::bit_cast<std::uint32_t>(expected)) << exponent << " " << first + idx;
      }
    }
  }
}

TEST(BlockFloat, FastNibblesEqualTheBitwiseDecoderForEveryExponentAndByte) {
  std::vector<std::uint8_t> tile(kBfloat4TileBytes);
  for (int exponent = 0; exponent < 256; ++exponent) {
    for (int first = 0; first < 256; first += 8) {
      const std::size_t block = 2 * 16 + 5;  // row 21: the third face
      tile[block] = static_cast<std::uint8_t>(exponent);
      for (std::size_t idx = 0; idx < 8; ++idx)
        tile[64 + block * 8 + idx] = static_cast<std::uint8_t>(static_cast<std::size_t>(first) + idx);
      float row[32];
      decode_tile_row(reinterpret_cast<const std::byte*>(tile.data()), DataType::bfloat4_b, 21, row);
      for (std::size_t idx = 0; idx < 16; ++idx) {
        const std::uint8_t byte = tile[64 + block * 8 + idx / 2];
        const auto code = static_cast<std::uint8_t>(idx % 2 == 0 ? byte & 15 : byte >> 4);
        const float expected = decode_code(static_cast<std::uint8_t>(exponent), code, 3);
        ASSERT_EQ(std::bit_cast<std::uint32_t>(row[idx]), std::bit_cast<std::uint32_t>(expected)) << exponent << " " << int{byte};
      }
    }
  }
}

}  // namespace
}  // namespace meshseek

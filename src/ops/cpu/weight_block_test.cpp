#include "ops/cpu/weight_block.hpp"

#include <cmath>

#include "ops/cpu/activations.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/test_tensors.hpp"
#include "tensor/block_float.hpp"

namespace meshseek::cpu {
namespace {

using namespace meshseek::testing;

TEST(WeightMatrix, DecodesAnyRowsOfAnyMatrixAsTheTensorHoldsThem) {
  constexpr std::int64_t kMatrices = 2, kRows = 45, kCols = 39;
  const Shape shape = {kMatrices, kRows, kCols};
  for (const Layout layout : {Layout::row_major, Layout::tile}) {
    for (const DataType dtype : {DataType::float32, DataType::bfloat16, DataType::bfloat8_b, DataType::bfloat4_b}) {
      if (is_block_float(dtype) && layout == Layout::row_major) continue;
      const Tensor tensor = make_tensor(random_values(volume(shape), 1), shape, dtype, layout);
      const std::vector<float> values = to_float_vector(tensor);
      const WeightMatrix weight(tensor);
      ASSERT_EQ(weight.padded_cols(), 64);
      for (const std::int64_t row : {0, 13, 31, 32, 40}) {
        std::vector<float> decoded(5 * 64, -1.0F);
        weight.decode_rows(1, row, 5, weight.all_columns(), false, decoded.data());
        for (std::int64_t idx = 0; idx < 5 * 64; ++idx) {
          const std::int64_t col = idx % 64;
          const float expected = col < kCols ? values[static_cast<std::size_t>((kRows + row + idx / 64) * kCols + col)] : 0.0F;
          ASSERT_EQ(decoded[static_cast<std::size_t>(idx)], expected) << to_string(dtype) << " " << to_string(layout);
        }
      }
    }
  }
}

/// What a stored byte stands for.
float magnitude(std::uint8_t stored) {
  const std::int32_t offset = kernels().int8_offset;
  return offset == 0 ? static_cast<float>(static_cast<std::int8_t>(stored)) : static_cast<float>(stored - offset);
}

TEST(WeightMatrix, MagnitudesTimesScalesAreTheDecodedValues) {
  constexpr std::int64_t kRows = 45, kCols = 39;
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    const Shape shape = {kRows, kCols};
    const auto bytes = std::make_shared<std::vector<std::byte>>(encode(random_values(kRows * kCols, 2), shape, dtype, Layout::tile, 2.0F));
    const Tensor tensor(shape, dtype, Layout::tile, *bytes, bytes);  // its padding is 2, not 0
    const std::vector<float> values = to_float_vector(tensor);
    const WeightMatrix weight(tensor);
    for (const auto& [row, count] : {std::pair<std::int64_t, std::int64_t>{0, 32}, {32, 13}}) {
      std::vector<std::uint8_t> magnitudes(32 * 64, 99);
      std::vector<float> scales(32 * 4, 99.0F);
      weight.decode_magnitudes(0, row, count, weight.all_columns(), magnitudes.data(), scales.data());
      const std::int64_t groups = ceil_div(count, kInt8Group);
      for (std::int64_t idx = 0; idx < groups * 16 * 64; ++idx) {
        const std::int64_t line = idx / 64, col = idx % 64;
        const std::int64_t block = line / 16 * 4 + col / 16;
        const float value = magnitude(magnitudes[static_cast<std::size_t>(block * 256 + col % 16 / 4 * 64 + line % 16 * 4 + col % 4)]) *
                            scales[static_cast<std::size_t>(block * 16 + line % 16)];
        const float expected = line < count && col < kCols ? values[static_cast<std::size_t>((row + line) * kCols + col)] : 0.0F;
        ASSERT_EQ(value, expected) << to_string(dtype) << " row " << row + line << " col " << col;
      }
    }
  }
}

TEST(WeightMatrix, EveryExponentAndCodeMeansWhatTheTileDecoderSays) {
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    const int bits = dtype == DataType::bfloat8_b ? 7 : 3;
    auto tile = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(tile_bytes(dtype)));
    for (std::size_t idx = kExponentBytesPerTile; idx < tile->size(); ++idx) (*tile)[idx] = static_cast<std::byte>(idx * 7);
    for (int exponent = 0; exponent < 255; ++exponent) {
      std::fill_n(tile->begin(), kExponentBytesPerTile, static_cast<std::byte>(exponent));
      const Tensor tensor({32, 32}, dtype, Layout::tile, *tile, tile);
      std::vector<std::uint8_t> magnitudes(32 * 32);
      std::vector<float> scales(32 * 2);
      WeightMatrix(tensor).decode_magnitudes(0, 0, 32, WeightMatrix(tensor).all_columns(), magnitudes.data(), scales.data());
      const std::vector<float> values = to_float_vector(tensor);
      for (std::size_t idx = 0; idx < values.size(); ++idx) {
        const std::size_t line = idx / 32, col = idx % 32;
        const std::size_t block = line / 16 * 2 + col / 16;
        const float value =
            magnitude(magnitudes[block * 256 + col % 16 / 4 * 64 + line % 16 * 4 + col % 4]) * scales[block * 16 + line % 16];
        ASSERT_EQ(value, exponent < bits ? 0.0F : values[idx]) << to_string(dtype) << " exponent " << exponent;
        ASSERT_TRUE(exponent >= bits || std::abs(values[idx]) < 0x1p-119F);  // what is lost
      }
    }
  }
}

TEST(Activations, ArePreparedForEachFidelityAndPaddedWithZeros) {
  Device device(2);
  const Tensor x = random_activation({40, 35}, 3, device);
  const Activations exact(x, 35, MathFidelity::HiFi4, device);
  const Activations rounded(x, 35, MathFidelity::HiFi2, device);
  const Activations codes(x, 35, MathFidelity::LoFi, device);
  ASSERT_EQ(exact.padded_cols(), 64);
  ASSERT_EQ(exact.num_rows(), 40);
  for (std::int64_t row = 0; row < 40; ++row) {
    for (std::int64_t col = 0; col < 64; ++col) {
      const float value = col < 35 ? x.data<float>()[static_cast<std::size_t>(row * 35 + col)] : 0.0F;
      ASSERT_EQ(exact.floats(row)[col], value);
      ASSERT_EQ(rounded.floats(row)[col], round_to_bf16(value));
      const float scale = codes.int8_rows().scales(row)[col / 16];
      ASSERT_EQ(codes.floats(row)[col], static_cast<float>(codes.int8_rows().codes(row)[col]) * scale);
      ASSERT_LE(std::abs(codes.floats(row)[col] - value), 0.50001F * scale);
      ASSERT_LE(std::abs(codes.int8_rows().codes(row)[col]), 127);
      std::int32_t sum = 0;
      for (std::int64_t idx = col / 16 * 16; idx < col / 16 * 16 + 16; ++idx) sum += codes.int8_rows().codes(row)[idx];
      ASSERT_EQ(codes.int8_rows().corrections(row)[col / 16], -kernels().int8_offset * sum);
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu

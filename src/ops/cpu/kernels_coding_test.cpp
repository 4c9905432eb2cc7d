// Other forms of numbers: tiles, int8, bfloat16.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "tensor/block_float.hpp"
#include "tests/support/kernel_cases.hpp"

namespace meshseek::cpu {
namespace {

using namespace testing;

/// Random bytes as tiles; the first exponents go through all values in turn.
std::vector<std::uint8_t> random_tiles(std::int64_t tile_size, std::int64_t num_tiles, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tile_size * num_tiles));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator());
  for (std::int64_t idx = 0; idx < num_tiles * 64; ++idx)
    bytes[static_cast<std::size_t>(idx / 64 * tile_size + idx % 64)] = static_cast<std::uint8_t>(seed + static_cast<unsigned>(idx));
  return bytes;
}

TEST(Kernels, WidensEveryBfloat16) {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t idx = 0; idx < bits.size(); ++idx) bits[idx] = static_cast<std::uint16_t>(idx);
  for (const Kernels* table : tables()) {
    std::vector<float> values(bits.size());
    table->widen_bf16(bits.data(), static_cast<std::int64_t>(bits.size()), values.data());
    for (std::size_t idx = 0; idx < bits.size(); ++idx) {
      std::uint32_t word = 0;
      std::memcpy(&word, &values[idx], sizeof(word));
      ASSERT_EQ(word, static_cast<std::uint32_t>(idx) << 16) << table->isa;
    }
  }
}

TEST(Kernels, TilesAreDecodedToTheBitsOfTheTileDecoder) {
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (unsigned seed = 0; seed < 256; seed += 16) {
      const std::vector<std::uint8_t> tiles = random_tiles(tile_bytes(dtype), 3, seed);
      for (const auto& [first_row, num_rows] : {std::pair{0, 32}, {5, 1}, {15, 2}, {16, 16}, {31, 1}}) {
        for (const Kernels* table : tables()) {
          std::vector<float> out(static_cast<std::size_t>(num_rows * 100), -7.0F);
          (dtype == DataType::bfloat8_b ? table->decode_b8 : table->decode_b4)({tiles.data(), 3, first_row, num_rows, out.data(), 100});
          for (std::int64_t idx = 0; idx < num_rows * 100; ++idx) {
            float row[32] = {};
            const std::int64_t col = idx % 100;
            if (col < 96) {
              const auto* tile = reinterpret_cast<const std::byte*>(tiles.data()) + col / 32 * tile_bytes(dtype);
              decode_tile_row(tile, dtype, first_row + idx / 100, row);
            }
            const float expected = col < 96 ? row[col % 32] : -7.0F;
            ASSERT_EQ(std::bit_cast<std::uint32_t>(out[static_cast<std::size_t>(idx)]), std::bit_cast<std::uint32_t>(expected))
                << table->isa << " seed " << seed << " row " << first_row + idx / 100 << " col " << col;
          }
        }
      }
    }
  }
}

/// Magnitudes times scales are the values, or zero below the normal scales; Inf and NaN make their block NaN.
TEST(Kernels, TilesArePackedAsMagnitudesAndScales) {
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    const int bits = dtype == DataType::bfloat8_b ? 7 : 3;
    for (unsigned seed = 0; seed < 256; seed += 16) {
      const std::vector<std::uint8_t> tiles = random_tiles(tile_bytes(dtype), 2, seed);
      for (const Kernels* table : tables()) {
        for (const bool lower : {false, true}) {
          std::vector<std::uint8_t> packed(4 * 256 + 1, 77);
          std::vector<float> scales(4 * 16 + 1, -7.0F);
          (dtype == DataType::bfloat8_b ? table->pack_b8 : table->pack_b4)({tiles.data(), 2, lower, packed.data(), scales.data()});
          EXPECT_EQ(packed.back(), 77);
          EXPECT_EQ(scales.back(), -7.0F);
          for (std::int64_t block = 0; block < 4; ++block) {
            for (std::int64_t row = 0; row < 16; ++row) {
              float values[32] = {};
              const std::uint8_t* tile = tiles.data() + block / 2 * tile_bytes(dtype);
              decode_tile_row(reinterpret_cast<const std::byte*>(tile), dtype, row + (lower ? 16 : 0), values);
              const int exponent = tile[(lower ? 32 : 0) + block % 2 * 16 + row];
              const float scale = scales[static_cast<std::size_t>(block * 16 + row)];
              bool finite = true;
              for (std::int64_t idx = 0; idx < 16; ++idx) finite = finite && std::isfinite(values[block % 2 * 16 + idx]);
              ASSERT_EQ(std::isnan(scale), !finite) << table->isa << " exponent " << exponent;
              for (std::int64_t idx = 0; idx < 16 && finite; ++idx) {
                const int magnitude = packed[static_cast<std::size_t>(block * 256 + idx / 4 * 64 + row * 4 + idx % 4)] - table->int8_offset;
                const int value = table->int8_offset == 0 ? static_cast<std::int8_t>(magnitude) : magnitude;
                ASSERT_EQ(static_cast<float>(value) * scale, exponent < bits ? 0.0F : values[block % 2 * 16 + idx])
                    << table->isa << " exponent " << exponent;
              }
            }
          }
        }
      }
    }
  }
}

/// The rounding of std::nearbyint, block by block, whatever the values.
TEST(Kernels, ActivationsAreQuantisedAlikeByEveryInstructionSet) {
  std::vector<float> values = random_values(16 * 9, 21);
  std::fill_n(values.begin() + 16, 16, 0.0F);
  for (std::size_t idx = 32; idx < 48; ++idx) values[idx] = static_cast<float>(idx - 40) * 0.5F;  // ties
  values[50] = std::numeric_limits<float>::infinity();
  values[70] = std::nanf("");
  for (std::size_t idx = 80; idx < 96; ++idx) values[idx] *= 1e-43F;
  for (std::size_t idx = 96; idx < 112; ++idx) values[idx] *= 1e38F;
  for (const Kernels* table : tables()) {
    std::vector<std::int8_t> codes(values.size());
    std::vector<float> scales(values.size() / 16);
    std::vector<std::int32_t> sums(values.size() / 16);
    table->quantise(values.data(), static_cast<std::int64_t>(values.size()), codes.data(), scales.data(), sums.data());
    for (std::size_t block = 0; block < scales.size(); ++block) {
      float amax = 0.0F;
      bool finite = true;
      for (std::size_t idx = block * 16; idx < block * 16 + 16; ++idx) {
        amax = std::max(amax, std::abs(values[idx]));
        finite = finite && std::isfinite(values[idx]);
      }
      const float scale = finite ? amax / 127.0F : std::nanf("");
      ASSERT_EQ(std::isnan(scales[block]), !finite) << table->isa;
      if (finite) {
        ASSERT_EQ(scales[block], scale) << table->isa;
      }
      std::int32_t sum = 0;
      for (std::size_t idx = block * 16; idx < block * 16 + 16; ++idx) {
        const float code = scale > 0.0F ? std::nearbyint(std::clamp(values[idx] / scale, -127.0F, 127.0F)) : 0.0F;
        ASSERT_EQ(codes[idx], static_cast<std::int8_t>(code)) << table->isa << " " << idx;
        sum += static_cast<std::int32_t>(code);
      }
      ASSERT_EQ(sums[block], sum) << table->isa;
    }
  }
}

TEST(Kernels, Bfloat16IsRoundedAsToBf16Rounds) {
  std::mt19937 generator(4);
  std::vector<float> values = {0.0F,
                               -0.0F,
                               std::numeric_limits<float>::infinity(),
                               std::nanf(""),
                               std::bit_cast<float>(0x3F808000U),
                               std::bit_cast<float>(0x3F818000U),
                               std::bit_cast<float>(0x7F7FFFFFU),
                               std::bit_cast<float>(0x7F800001U)};
  for (int idx = 0; idx < 1000; ++idx) values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(generator())));
  for (const Kernels* table : tables()) {
    std::vector<std::uint16_t> bits(values.size());
    table->narrow_bf16(values.data(), static_cast<std::int64_t>(values.size()), bits.data());
    std::vector<float> rounded = values;
    table->round_bf16(rounded.data(), static_cast<std::int64_t>(values.size()));
    for (std::size_t idx = 0; idx < values.size(); ++idx) {
      ASSERT_EQ(bits[idx], to_bf16(values[idx]).bits) << table->isa;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(rounded[idx]), std::bit_cast<std::uint32_t>(round_to_bf16(values[idx]))) << table->isa;
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu

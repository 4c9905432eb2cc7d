#include "tensor/block_float.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>

#include "base/error.hpp"

namespace meshseek {

std::int64_t tile_bytes(DataType dtype) {
  if (dtype == DataType::bfloat8_b) return kBfloat8TileBytes;
  if (dtype == DataType::bfloat4_b) return kBfloat4TileBytes;
  return kTileSize * kTileSize * static_cast<std::int64_t>(element_bytes(dtype));
}

std::uint8_t encode_block(std::span<const float, 16> values, int magnitude_bits, std::span<std::uint8_t, 16> codes) {
  std::uint32_t shared = 0;
  for (const float value : values) shared = std::max(shared, (std::bit_cast<std::uint32_t>(value) >> 23) & 0xFFU);
  const int shift = 24 - magnitude_bits;
  const std::uint32_t limit = (1U << magnitude_bits) - 1U;
  for (std::size_t idx = 0; idx < 16; ++idx) {
    const auto bits = std::bit_cast<std::uint32_t>(values[idx]);
    const std::uint32_t exponent = (bits >> 23) & 0xFFU;
    const std::uint32_t distance = shared - exponent;
    // Aligning truncates first; rounding to nearest even sees only what is left. Zeros and denormals become +0.
    std::uint32_t magnitude = exponent == 0 || distance >= 24 ? 0U : ((bits & 0x7FFFFFU) | 0x800000U) >> distance;
    magnitude = (magnitude + (1U << (shift - 1)) - 1U + ((magnitude >> shift) & 1U)) >> shift;
    magnitude = std::min(magnitude, limit);
    codes[idx] = static_cast<std::uint8_t>(magnitude == 0 ? 0U : ((bits >> 31) << magnitude_bits) | magnitude);
  }
  return static_cast<std::uint8_t>(shared);
}

float decode_code(std::uint8_t shared_exponent, std::uint8_t code, int magnitude_bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(code >> magnitude_bits) << 31;
  const std::uint32_t magnitude = code & ((1U << magnitude_bits) - 1U);
  if (magnitude == 0) return std::bit_cast<float>(sign);
  const int leading = magnitude_bits - std::bit_width(magnitude);  // shifts until the hidden bit is in place
  if (leading > shared_exponent) return 0.0F;
  const std::uint32_t fraction = (magnitude << leading) & ((1U << (magnitude_bits - 1)) - 1U);
  return std::bit_cast<float>(sign | (static_cast<std::uint32_t>(shared_exponent - leading) << 23) |
                              (fraction << (23 - (magnitude_bits - 1))));
}

namespace {

/// bfloat8_b, 16 codes. Exponents whose values are all normal take the fast path: magnitude times a power of two.
void decode_bytes(std::uint8_t shared, const std::uint8_t* codes, float* out) {
  constexpr int kBits = 7;
  if (shared < kBits || shared == 255) {
    for (std::int64_t idx = 0; idx < kFaceSize; ++idx) out[idx] = decode_code(shared, codes[idx], kBits);
    return;
  }
  const auto scale = std::bit_cast<float>(static_cast<std::uint32_t>(shared - (kBits - 1)) << 23);
  for (std::int64_t idx = 0; idx < kFaceSize; ++idx) {
    const auto magnitude = static_cast<float>(codes[idx] & 0x7F) * scale;
    const std::uint32_t sign = static_cast<std::uint32_t>(codes[idx] & 0x80) << 24;
    out[idx] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
}

/// Both values of a bfloat4_b byte before scaling: code 8 is -0.
constexpr auto kNibblePairs = [] {
  constexpr std::array<float, 16> kValues = {0.0F,  1.0F,  2.0F,  3.0F,  4.0F,  5.0F,  6.0F,  7.0F,
                                             -0.0F, -1.0F, -2.0F, -3.0F, -4.0F, -5.0F, -6.0F, -7.0F};
  std::array<std::array<float, 2>, 256> pairs = {};
  for (std::size_t byte = 0; byte < 256; ++byte) pairs[byte] = {kValues[byte & 15U], kValues[byte >> 4]};
  return pairs;
}();

/// bfloat4_b, 16 codes in 8 bytes.
void decode_nibbles(std::uint8_t shared, const std::uint8_t* packed, float* out) {
  constexpr int kBits = 3;
  if (shared < kBits || shared == 255) {
    for (std::int64_t idx = 0; idx < kFaceSize; ++idx) {
      const int code = idx % 2 == 0 ? packed[idx / 2] & 15 : packed[idx / 2] >> 4;
      out[idx] = decode_code(shared, static_cast<std::uint8_t>(code), kBits);
    }
    return;
  }
  const auto scale = std::bit_cast<float>(static_cast<std::uint32_t>(shared - (kBits - 1)) << 23);
  for (std::int64_t pair = 0; pair < kFaceSize / 2; ++pair) {
    out[2 * pair] = kNibblePairs[packed[pair]][0] * scale;
    out[2 * pair + 1] = kNibblePairs[packed[pair]][1] * scale;
  }
}

}  // namespace

void decode_tile_row(const std::byte* tile, DataType dtype, std::int64_t row, float* out) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(tile);
  const std::int64_t first_block = (row / kFaceSize) * 2 * kFaceSize + row % kFaceSize;
  for (std::int64_t half = 0; half < 2; ++half) {
    const std::int64_t block = first_block + half * kFaceSize;
    if (dtype == DataType::bfloat8_b) {
      decode_bytes(bytes[block], bytes + kExponentBytesPerTile + block * kFaceSize, out + half * kFaceSize);
      continue;
    }
    decode_nibbles(bytes[block], bytes + kExponentBytesPerTile + block * kFaceSize / 2, out + half * kFaceSize);
  }
}

void decode_bfloat8_blocks(const std::uint8_t* exponents, const std::uint8_t* codes, std::int64_t num_blocks, float* out) {
  for (std::int64_t block = 0; block < num_blocks; ++block) decode_bytes(exponents[block], codes + block * kFaceSize, out + block * kFaceSize);
}

}  // namespace meshseek

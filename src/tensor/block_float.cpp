#include "tensor/block_float.hpp"

#include <algorithm>
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
  return std::bit_cast<float>(sign | (static_cast<std::uint32_t>(shared_exponent - leading) << 23) | (fraction << (23 - (magnitude_bits - 1))));
}

namespace {

/// Decodes the 16 codes of one face row. Exponents whose values are all normal take the fast path: magnitude times a power of two.
template <int MagnitudeBits>
void decode_block(std::uint8_t shared, const std::uint8_t* codes, float* out) {
  if (shared < MagnitudeBits || shared == 255) {
    for (std::int64_t idx = 0; idx < kFaceSize; ++idx) out[idx] = decode_code(shared, codes[idx], MagnitudeBits);
    return;
  }
  const auto scale = std::bit_cast<float>(static_cast<std::uint32_t>(shared - (MagnitudeBits - 1)) << 23);
  constexpr int kLimit = 1 << MagnitudeBits;
  for (std::int64_t idx = 0; idx < kFaceSize; ++idx) {
    const auto magnitude = static_cast<float>(codes[idx] & (kLimit - 1)) * scale;
    const std::uint32_t sign = static_cast<std::uint32_t>(codes[idx] & kLimit) << (31 - MagnitudeBits);
    out[idx] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
}

}  // namespace

void decode_tile_row(const std::byte* tile, DataType dtype, std::int64_t row, float* out) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(tile);
  const std::int64_t first_block = (row / kFaceSize) * 2 * kFaceSize + row % kFaceSize;
  for (std::int64_t half = 0; half < 2; ++half) {
    const std::int64_t block = first_block + half * kFaceSize;
    if (dtype == DataType::bfloat8_b) {
      decode_block<7>(bytes[block], bytes + kExponentBytesPerTile + block * kFaceSize, out + half * kFaceSize);
      continue;
    }
    std::uint8_t codes[kFaceSize];
    const std::uint8_t* packed = bytes + kExponentBytesPerTile + block * kFaceSize / 2;
    for (std::int64_t pair = 0; pair < kFaceSize / 2; ++pair) {
      codes[2 * pair] = packed[pair] & 0x0F;
      codes[2 * pair + 1] = packed[pair] >> 4;
    }
    decode_block<3>(bytes[block], codes, out + half * kFaceSize);
  }
}

}  // namespace meshseek

/// bfloat8_b and bfloat4_b: bit-exact with TTNN's host encoder (round to nearest even after truncating alignment).
/// Source: TTNN 0.81.1, blockfloat_common.cpp; verified by the goldens in tests/data/ttnn.
#pragma once
#include <cstdint>
#include <span>

#include "tensor/dtype.hpp"
#include "tensor/shape.hpp"

namespace meshseek {

inline constexpr std::int64_t kExponentBytesPerTile = 64;
inline constexpr std::int64_t kBfloat8TileBytes = 1088;  ///< 64 exponents + 1024 codes
inline constexpr std::int64_t kBfloat4TileBytes = 576;   ///< 64 exponents + 512 bytes, element 0 in the low nibble

/// Bytes of one 32x32 tile of any dtype.
std::int64_t tile_bytes(DataType dtype);

/// Encodes 16 values: returns the shared exponent, writes one code per value (sign << magnitude_bits | magnitude).
/// magnitude_bits: 7 for bfloat8_b, 3 for bfloat4_b.
std::uint8_t encode_block(std::span<const float, 16> values, int magnitude_bits, std::span<std::uint8_t, 16> codes);
/// Value of one code; exactly representable in bf16. Denormal results flush to zero as in TTNN.
float decode_code(std::uint8_t shared_exponent, std::uint8_t code, int magnitude_bits);

/// Decodes one row of 32 values (`row` in 0..31 of the tile) of a bfloat8_b or bfloat4_b tile into `out`. Fast path used by the kernels.
void decode_tile_row(const std::byte* tile, DataType dtype, std::int64_t row, float* out);

/// Blocks of 16 values of bfloat8_b outside of tiles: one exponent a block, one code a value, as BlockEncoder::bfloat8_b writes them.
void decode_bfloat8_blocks(const std::uint8_t* exponents, const std::uint8_t* codes, std::int64_t num_blocks, float* out);

}  // namespace meshseek

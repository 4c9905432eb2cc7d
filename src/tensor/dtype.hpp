/// Element types and layouts; names and numbers are TTNN's.
#pragma once
#include <bit>
#include <cstdint>
#include <string_view>

namespace meshseek {

enum class DataType : std::uint8_t {
  bfloat16 = 0,
  float32 = 1,
  uint32 = 2,
  bfloat8_b = 3,
  bfloat4_b = 4,
  uint8 = 5,
  uint16 = 6,
  int32 = 7
};
enum class Layout : std::uint8_t { row_major = 0, tile = 1 };

std::string_view to_string(DataType dtype);  ///< "bfloat16", "float32", "uint32", "bfloat8_b", ...
std::string_view to_string(Layout layout);   ///< "ROW_MAJOR", "TILE"
/// \throws Error listing the known names.
DataType parse_dtype(std::string_view name);

/// bfloat8_b and bfloat4_b: 16 consecutive values of a face row share one exponent.
constexpr bool is_block_float(DataType dtype) { return dtype == DataType::bfloat8_b || dtype == DataType::bfloat4_b; }
/// Bytes of one element. \throws Error for block formats, which have no element size.
std::size_t element_bytes(DataType dtype);

/// The upper half of a float32. g++ 12 has no __bf16 in C++.
struct bf16 {
  std::uint16_t bits = 0;
  friend bool operator==(bf16, bf16) = default;
};

constexpr float to_float(bf16 value) { return std::bit_cast<float>(std::uint32_t{value.bits} << 16); }
/// Rounds to nearest, ties to even; every NaN becomes 0x7FC0 (TTNN's host rule).
constexpr bf16 to_bf16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  if ((u & 0x7FFFFFFFU) > 0x7F800000U) return {0x7FC0};
  return {static_cast<std::uint16_t>((u + 0x7FFFU + ((u >> 16) & 1U)) >> 16)};
}
constexpr float round_to_bf16(float value) { return to_float(to_bf16(value)); }

}  // namespace meshseek

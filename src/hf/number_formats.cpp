#include "hf/number_formats.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace meshseek {

float decode_e4m3(std::uint8_t code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  const float sign = (code & 0x80) != 0 ? -1.0F : 1.0F;
  if (exponent == 15 && mantissa == 7) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -9);
  return sign * std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

std::uint8_t encode_e4m3(float value) {
  constexpr float kLargest = 448.0F;
  constexpr int kSmallestExponent = -6;  // of normal numbers; below it the spacing stays 2^-9
  const std::uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fmin(std::fabs(value), kLargest);
  if (magnitude == 0.0F) return sign;
  const int exponent = std::max(std::ilogb(magnitude), kSmallestExponent);
  // In units of the spacing: 8 to 16, or 0 to 8 for denormal codes; nearbyint() rounds ties to even. A carry moves on to the next exponent by itself.
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  return static_cast<std::uint8_t>(sign | (((exponent - kSmallestExponent) << 3) + units));
}

float decode_e8m0(std::uint8_t code) {
  if (code == 0xFF) return std::numeric_limits<float>::quiet_NaN();
  return std::ldexp(1.0F, int{code} - 127);
}

float decode_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 31U;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112U) << 23) | (mantissa << 13));
  const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace meshseek

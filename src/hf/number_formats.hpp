/// float8 formats and float16 of Hugging Face checkpoints.
#pragma once
#include <array>
#include <cstdint>

namespace meshseek {

/// e4m3fn: 1 sign, 4 exponent (bias 7), 3 mantissa bits; no infinity; 0x7F and 0xFF are NaN; largest value 448.
float decode_e4m3(std::uint8_t code);
/// Nearest code, ties to the even one; magnitudes above 448 become 448. `value` is not NaN.
std::uint8_t encode_e4m3(float value);
/// e8m0fnu: 2^(code - 127); 0xFF is NaN; no zero, no sign. Code 0 is 2^-127, a float32 denormal.
float decode_e8m0(std::uint8_t code);
float decode_f16(std::uint16_t bits);

}  // namespace meshseek

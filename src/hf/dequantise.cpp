#include "hf/dequantise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "hf/number_formats.hpp"
#include "tensor/dtype.hpp"

namespace meshseek {
namespace {

/// Decodes every element; they are copied out because a header of odd length leaves them unaligned.
template <class Stored, class Decode>
void decode_all(std::span<const std::byte> bytes, std::span<float> out, Decode decode) {
  const std::byte* const first = bytes.data();
  for (std::size_t i = 0; i < out.size(); ++i) {
    Stored stored = {};
    std::memcpy(&stored, first + i * sizeof(Stored), sizeof(Stored));
    out[i] = decode(stored);
  }
}

void decode_codes(std::span<const std::byte> bytes, std::span<float> out, float (*decode)(std::uint8_t)) {
  std::array<float, 256> table = {};
  for (std::size_t code = 0; code < table.size(); ++code) table[code] = decode(static_cast<std::uint8_t>(code));
  decode_all<std::uint8_t>(bytes, out, [&](std::uint8_t code) { return table[code]; });
}

/// e4m3 without branches, so that the loop over it is vectorised. NaN codes give 480.
float decode_e4m3_bits(std::uint32_t code) {
  const std::uint32_t fields = (code & 0x7FU) << 20;  // exponent and mantissa where float32 has them
  const float normal = std::bit_cast<float>(fields + (120U << 23));
  const float denormal = std::bit_cast<float>(fields | (121U << 23)) - 0x1p-6F;
  const float magnitude = (code & 0x78U) == 0 ? denormal : normal;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | ((code & 0x80U) << 24));
}

/// The product of a 4-bit and a 24-bit mantissa is rounded once by the float multiplication itself.
void scale_codes(const std::byte* codes, std::int64_t count, float scale, float* out) {
  std::uint32_t num_nan = 0;
  for (std::int64_t idx = 0; idx < count; ++idx) {
    const auto code = std::to_integer<std::uint32_t>(codes[idx]);
    out[idx] = decode_e4m3_bits(code) * scale;
    num_nan += static_cast<std::uint32_t>((code & 0x7FU) == 0x7FU);
  }
  if (num_nan == 0) return;
  for (std::int64_t idx = 0; idx < count; ++idx) {
    if ((std::to_integer<std::uint32_t>(codes[idx]) & 0x7FU) == 0x7FU) out[idx] = std::numeric_limits<float>::quiet_NaN();
  }
}

}  // namespace

void widen(HfDtype dtype, std::span<const std::byte> bytes, std::span<float> out) {
  switch (dtype) {
    case HfDtype::F32:
      return decode_all<float>(bytes, out, [](float value) { return value; });
    case HfDtype::F64:
      return decode_all<double>(bytes, out, [](double value) { return static_cast<float>(value); });
    case HfDtype::BF16:
      return decode_all<std::uint16_t>(bytes, out, [](std::uint16_t bits) { return to_float(bf16{bits}); });
    case HfDtype::F16:
      return decode_all<std::uint16_t>(bytes, out, [](std::uint16_t bits) { return decode_f16(bits); });
    case HfDtype::F8_E4M3:
      return decode_codes(bytes, out, decode_e4m3);
    case HfDtype::F8_E8M0:
      return decode_codes(bytes, out, decode_e8m0);
    case HfDtype::I64:
    case HfDtype::I32:
      break;
  }
  throw Error(fmt::format("[safetensors] a tensor of {} has no float values; expected a float dtype", to_string(dtype)));
}

std::vector<float> widen(const HfTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() / element_bytes(tensor.dtype));
  widen(tensor.dtype, tensor.bytes, values);
  return values;
}

void dequantise(const BlockScaled& matrix, std::int64_t first_col, std::int64_t num_cols, std::span<float> out) {
  const std::int64_t scales_per_row = ceil_div(matrix.cols, matrix.block_cols);
  const std::int64_t end_col = first_col + num_cols;
  for (std::int64_t row = 0; row < matrix.num_rows; ++row) {
    const float* const scales = matrix.scales.data() + (matrix.first_row + row) / matrix.block_rows * scales_per_row;
    const std::byte* const codes = matrix.codes.data() + row * matrix.cols;
    float* const out_row = out.data() + row * num_cols;
    for (std::int64_t begin = first_col; begin < end_col;) {
      const std::int64_t block = begin / matrix.block_cols;
      const std::int64_t end = std::min((block + 1) * matrix.block_cols, end_col);
      scale_codes(codes + begin, end - begin, scales[block], out_row + (begin - first_col));
      begin = end;
    }
  }
}

std::optional<std::size_t> find_non_finite(std::span<const float> values) {
  constexpr std::uint32_t kExponent = 0x7F800000U;
  // Whole chunks first: their loop has no exit and is vectorised.
  constexpr std::size_t kChunk = 4096;
  for (std::size_t start = 0; start < values.size(); start += kChunk) {
    const auto chunk = values.subspan(start, std::min(kChunk, values.size() - start));
    std::uint32_t found = 0;
    for (const float value : chunk) found |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(value) & kExponent) == kExponent);
    if (found == 0) continue;
    const auto first = std::find_if(chunk.begin(), chunk.end(), [](float value) { return !std::isfinite(value); });
    return start + static_cast<std::size_t>(first - chunk.begin());
  }
  return std::nullopt;
}

}  // namespace meshseek

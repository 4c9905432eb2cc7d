#include "hf/dequantise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.hpp"
#include "hf/number_formats.hpp"
#include "tensor/dtype.hpp"

namespace meshseek {
namespace {

/// Decodes every element; they are copied out because a header of odd length leaves them unaligned.
template <class Stored, class Decode>
std::vector<float> decode_all(std::span<const std::byte> bytes, Decode decode) {
  std::vector<float> values(bytes.size() / sizeof(Stored));
  const std::byte* const first = bytes.data();
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored = {};
    std::memcpy(&stored, first + i * sizeof(Stored), sizeof(Stored));
    values[i] = decode(stored);
  }
  return values;
}

template <class Decode>
constexpr auto make_table(Decode decode) {
  std::array<double, 256> table = {};
  for (std::size_t code = 0; code < table.size(); ++code) table[code] = decode(static_cast<std::uint8_t>(code));
  return table;
}

std::vector<float> decode_codes(std::span<const std::byte> bytes, float (*decode)(std::uint8_t)) {
  const auto table = make_table(decode);
  return decode_all<std::uint8_t>(bytes, [&](std::uint8_t code) { return static_cast<float>(table[code]); });
}

}  // namespace

std::vector<float> widen(const HfTensor& tensor) {
  switch (tensor.dtype) {
    case HfDtype::F32:
      return decode_all<float>(tensor.bytes, [](float value) { return value; });
    case HfDtype::F64:
      return decode_all<double>(tensor.bytes, [](double value) { return static_cast<float>(value); });
    case HfDtype::BF16:
      return decode_all<std::uint16_t>(tensor.bytes, [](std::uint16_t bits) { return to_float(bf16{bits}); });
    case HfDtype::F16:
      return decode_all<std::uint16_t>(tensor.bytes, [](std::uint16_t bits) { return decode_f16(bits); });
    case HfDtype::F8_E4M3:
      return decode_codes(tensor.bytes, decode_e4m3);
    case HfDtype::F8_E8M0:
      return decode_codes(tensor.bytes, decode_e8m0);
    case HfDtype::I64:
    case HfDtype::I32:
      break;
  }
  throw Error(fmt::format("[safetensors] a tensor of {} has no float values; expected a float dtype", to_string(tensor.dtype)));
}

std::vector<float> dequantise(const BlockScaled& matrix) {
  const auto table = make_table(decode_e4m3);
  const std::int64_t scales_per_row = ceil_div(matrix.cols, matrix.block_cols);
  std::vector<float> values(matrix.codes.size());
  if (values.empty()) return values;
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const float* const scales = matrix.scales.data() + row / matrix.block_rows * scales_per_row;
    const std::byte* const codes = matrix.codes.data() + row * matrix.cols;
    float* const out = values.data() + row * matrix.cols;
    for (std::int64_t block = 0; block < scales_per_row; ++block) {
      const double scale = scales[block];
      const std::int64_t end = std::min((block + 1) * matrix.block_cols, matrix.cols);
      for (std::int64_t col = block * matrix.block_cols; col < end; ++col) {
        out[col] = static_cast<float>(table[std::to_integer<std::size_t>(codes[col])] * scale);
      }
    }
  }
  return values;
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

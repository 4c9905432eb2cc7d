#include "ops/cpu/weight_block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.hpp"
#include "tensor/block_float.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

void copy_elements(const std::byte* source, DataType dtype, std::int64_t count, float* out) {
  if (dtype == DataType::float32) {
    std::memcpy(out, source, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  const auto* halves = reinterpret_cast<const bf16*>(source);
  for (std::int64_t idx = 0; idx < count; ++idx) out[idx] = to_float(halves[idx]);
}

/// 2^(exponent - 127 - (bits - 1)) also where that is a float32 denormal: the value of magnitude 1.
float magnitude_unit(std::uint8_t exponent, int magnitude_bits) {
  const int biased = static_cast<int>(exponent) - (magnitude_bits - 1);
  if (biased > 0) return std::bit_cast<float>(static_cast<std::uint32_t>(biased) << 23);
  return std::bit_cast<float>(0x00400000U >> std::min(-biased, 31));
}

}  // namespace

WeightMatrix::WeightMatrix(const Tensor& weight) : bytes_(weight.bytes().data()), dtype_(weight.dtype()), layout_(weight.layout()) {
  if (weight.rank() < 2) throw ShapeError(fmt::format("[linear] a weight {} is no matrix", to_string(weight.shape())));
  const bool known = is_block_float(dtype_) || dtype_ == DataType::float32 || dtype_ == DataType::bfloat16;
  if (!known) throw ShapeError(fmt::format("[linear] a weight {} is {}; expected a float type", to_string(weight.shape()), to_string(dtype_)));
  rows_ = weight.dim(-2);
  cols_ = weight.dim(-1);
  num_matrices_ = rows_ * cols_ == 0 ? 0 : weight.volume() / (rows_ * cols_);
  padded_cols_ = round_up(cols_, kTileSize);
}

const std::byte* WeightMatrix::tile_row(std::int64_t matrix_idx, std::int64_t row) const {
  const std::int64_t tile_rows = matrix_idx * ceil_div(rows_, kTileSize) + row / kTileSize;
  return bytes_ + tile_rows * (padded_cols_ / kTileSize) * tile_bytes(dtype_);
}

void WeightMatrix::decode_row(std::int64_t matrix_idx, std::int64_t row, float* out) const {
  if (layout_ == Layout::row_major) {
    copy_elements(bytes_ + (matrix_idx * rows_ + row) * cols_ * static_cast<std::int64_t>(element_bytes(dtype_)), dtype_, cols_, out);
    return;
  }
  const std::byte* tile = tile_row(matrix_idx, row);
  const std::int64_t row_in_tile = row % kTileSize;
  for (std::int64_t col = 0; col < padded_cols_; col += kTileSize, tile += tile_bytes(dtype_)) {
    if (is_block_float(dtype_)) {
      decode_tile_row(tile, dtype_, row_in_tile, out + col);
      continue;
    }
    const auto size = static_cast<std::int64_t>(element_bytes(dtype_));
    const std::int64_t left = tile_element_index(row_in_tile, 0, kTileSize) * size;
    copy_elements(tile + left, dtype_, kFaceSize, out + col);
    copy_elements(tile + left + kFaceSize * kFaceSize * size, dtype_, kFaceSize, out + col + kFaceSize);
  }
}

void WeightMatrix::decode_rows(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, bool as_bf16, float* out) const {
  for (std::int64_t idx = 0; idx < count; ++idx) {
    float* line = out + idx * padded_cols_;
    decode_row(matrix_idx, row + idx, line);
    // The file's padding need not be zero.
    std::fill(line + cols_, line + padded_cols_, 0.0F);
    if (!as_bf16 || dtype_ != DataType::float32) continue;  // the other types are exact in bf16
    for (std::int64_t col = 0; col < cols_; ++col) line[col] = round_to_bf16(line[col]);
  }
}

void WeightMatrix::decode_magnitudes(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, std::int8_t* magnitudes, float* scales) const {
  const bool eight = dtype_ == DataType::bfloat8_b;
  const int bits = eight ? 7 : 3;
  for (std::int64_t idx = 0; idx < count; ++idx) {
    const auto* tile = reinterpret_cast<const std::uint8_t*>(tile_row(matrix_idx, row + idx));
    const std::int64_t first = (row + idx) % kTileSize / kFaceSize * 2 * kFaceSize + (row + idx) % kFaceSize;
    for (std::int64_t block = 0; block < padded_cols_ / kFaceSize; ++block) {
      const std::uint8_t* here = tile + block / 2 * tile_bytes(dtype_);
      const std::int64_t face_row = first + block % 2 * kFaceSize;
      *scales++ = magnitude_unit(here[face_row], bits);
      const std::uint8_t* codes = here + kExponentBytesPerTile + face_row * kFaceSize * (eight ? 2 : 1) / 2;
      for (std::int64_t col = 0; col < kFaceSize; ++col) {
        const int code = eight ? codes[col] : (codes[col / 2] >> (col % 2 * 4)) & 0x0F;
        const int magnitude = code & ((1 << bits) - 1);
        *magnitudes++ = static_cast<std::int8_t>(code >> bits != 0 ? -magnitude : magnitude);
      }
    }
    const std::int64_t padding = padded_cols_ - cols_;
    std::fill(magnitudes - padding, magnitudes, std::int8_t{0});
  }
}

}  // namespace meshseek::cpu

#include "ops/cpu/weight_block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "ops/cpu/kernels.hpp"
#include "tensor/block_float.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

void copy_elements(const std::byte* source, DataType dtype, std::int64_t count, float* out) {
  if (dtype == DataType::float32) {
    std::memcpy(out, source, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  kernels().widen_bf16(reinterpret_cast<const std::uint16_t*>(source), count, out);
}

/// Signed magnitudes of one block of 16 and what magnitude 1 stands for.
struct Magnitudes {
  std::int16_t values[kFaceSize] = {};
  float scale = 0.0F;
};

/// \param codes 16 bytes (bfloat8_b) or 16 nibbles (bfloat4_b)
Magnitudes read_block(std::uint8_t exponent, const std::uint8_t* codes, DataType dtype) {
  const bool eight = dtype == DataType::bfloat8_b;
  const int bits = eight ? 7 : 3;
  Magnitudes block;
  // Below that, magnitude 1 is no normal float32: the whole block is smaller than 2^-119 and counts as zero.
  if (exponent < bits) return block;
  bool finite = true;
  for (std::int64_t idx = 0; idx < kFaceSize; ++idx) {
    const int code = eight ? codes[idx] : (codes[idx / 2] >> (idx % 2 * 4)) & 0x0F;
    const int magnitude = code & ((1 << bits) - 1);
    block.values[idx] = static_cast<std::int16_t>(code >> bits != 0 ? -magnitude : magnitude);
    finite = finite && (exponent != 255 || magnitude >> (bits - 1) == 0);
  }
  block.scale =
      finite ? std::bit_cast<float>(static_cast<std::uint32_t>(exponent - (bits - 1)) << 23) : std::numeric_limits<float>::quiet_NaN();
  return block;
}

}  // namespace

WeightMatrix::WeightMatrix(const Tensor& weight) : bytes_(weight.bytes().data()), dtype_(weight.dtype()), layout_(weight.layout()) {
  if (weight.rank() < 2) throw ShapeError(fmt::format("[weight] {} is no matrix; expected [.., rows, cols]", to_string(weight.shape())));
  const bool known = is_block_float(dtype_) || dtype_ == DataType::float32 || dtype_ == DataType::bfloat16;
  if (!known) throw ShapeError(fmt::format("[weight] {} is {}; expected a float type", to_string(weight.shape()), to_string(dtype_)));
  if (bytes_ == nullptr && weight.volume() != 0)
    throw ShapeError(fmt::format("[weight] {} is not loaded or was deallocated", to_string(weight.shape())));
  rows_ = weight.dim(-2);
  cols_ = weight.dim(-1);
  num_matrices_ = rows_ * cols_ == 0 ? 0 : weight.volume() / (rows_ * cols_);
  padded_cols_ = round_up(cols_, kTileSize);
}

const std::byte* WeightMatrix::tile_row(std::int64_t matrix_idx, std::int64_t row) const {
  const std::int64_t tile_rows = matrix_idx * ceil_div(rows_, kTileSize) + row / kTileSize;
  return bytes_ + tile_rows * (padded_cols_ / kTileSize) * tile_bytes(dtype_);
}

void WeightMatrix::decode_row(std::int64_t matrix_idx, std::int64_t row, Columns columns, float* out) const {
  if (layout_ == Layout::row_major) {
    const std::int64_t first = (matrix_idx * rows_ + row) * cols_ + columns.begin;
    copy_elements(bytes_ + first * static_cast<std::int64_t>(element_bytes(dtype_)), dtype_, columns.count, out);
    return;
  }
  const std::byte* tile = tile_row(matrix_idx, row) + columns.begin / kTileSize * tile_bytes(dtype_);
  const std::int64_t row_in_tile = row % kTileSize;
  for (std::int64_t col = 0; col < columns.count; col += kTileSize, tile += tile_bytes(dtype_)) {
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

void WeightMatrix::decode_rows(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, bool as_bf16,
                               float* out) const {
  for (std::int64_t idx = 0; idx < count; ++idx) {
    float* line = out + idx * columns.padded();
    decode_row(matrix_idx, row + idx, columns, line);
    // The file's padding need not be zero.
    std::fill(line + columns.count, line + columns.padded(), 0.0F);
    if (!as_bf16 || dtype_ != DataType::float32) continue;  // the other types are exact in bf16
    for (std::int64_t col = 0; col < columns.count; ++col) line[col] = round_to_bf16(line[col]);
  }
}

void WeightMatrix::decode_magnitudes(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns,
                                     std::int16_t* magnitudes, float* scales) const {
  const std::int64_t num_blocks = columns.padded() / kInt8Group;
  const std::int64_t first_block = columns.begin / kInt8Group;
  const std::int64_t code_bytes = dtype_ == DataType::bfloat8_b ? kFaceSize : kFaceSize / 2;  // of one block
  const std::int64_t num_groups = ceil_div(count, kInt8Group);
  std::fill_n(magnitudes, num_groups * kInt8Group * columns.padded(), std::int16_t{0});
  std::fill_n(scales, num_groups * columns.padded(), 0.0F);
  for (std::int64_t idx = 0; idx < count; ++idx) {
    const auto* tile = reinterpret_cast<const std::uint8_t*>(tile_row(matrix_idx, row + idx));
    const std::int64_t first_face_row = (row + idx) % kTileSize / kFaceSize * 2 * kFaceSize + (row + idx) % kFaceSize;
    for (std::int64_t block = 0; block * kInt8Group < columns.count; ++block) {
      const std::int64_t stored_block = first_block + block;
      const std::uint8_t* here = tile + stored_block / 2 * tile_bytes(dtype_);
      const std::int64_t face_row = first_face_row + stored_block % 2 * kFaceSize;
      const Magnitudes source = read_block(here[face_row], here + kExponentBytesPerTile + face_row * code_bytes, dtype_);
      const std::int64_t target = (idx / kInt8Group * num_blocks + block) * kInt8Group;
      scales[target + idx % kInt8Group] = source.scale;
      std::int16_t* out = magnitudes + target * kInt8Group + idx % kInt8Group * 2;
      const std::int64_t used = std::min(kInt8Group, columns.count - block * kInt8Group);
      for (std::int64_t col = 0; col < used; ++col) out[col / 2 * 2 * kInt8Group + col % 2] = source.values[col];
    }
  }
}

}  // namespace meshseek::cpu

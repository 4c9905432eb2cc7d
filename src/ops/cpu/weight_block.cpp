#include "ops/cpu/weight_block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "ops/cpu/aligned_buffer.hpp"
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

/// One group of 16 rows in the order of Int8Block, of which some rows and columns are no part of the matrix.
struct MagnitudeGroup {
  std::uint8_t* magnitudes = nullptr;
  float* scales = nullptr;
  std::int64_t num_blocks = 0;

  std::uint8_t& at(std::int64_t block, std::int64_t row, std::int64_t col) const {
    return magnitudes[block * kInt8Group * kInt8Group + col / 4 * 4 * kInt8Group + row * 4 + col % 4];
  }
  void clear_row(std::int64_t row) const {
    for (std::int64_t block = 0; block < num_blocks; ++block) {
      for (std::int64_t col = 0; col < kInt8Group; ++col) at(block, row, col) = static_cast<std::uint8_t>(kernels().int8_offset);
      scales[block * kInt8Group + row] = 0.0F;
    }
  }
  void clear_column(std::int64_t col) const {
    const std::int64_t block = col / kInt8Group;
    for (std::int64_t row = 0; row < kInt8Group; ++row) {
      at(block, row, col % kInt8Group) = static_cast<std::uint8_t>(kernels().int8_offset);
      if (col % kInt8Group == 0) scales[block * kInt8Group + row] = 0.0F;
    }
  }
};

/// Keeps so many bytes of the rows of a pair of tiles.
void clear_ends(std::uint8_t* step, std::int64_t kept) {
  for (std::int64_t row = 0; row < kPanelRows; ++row) std::memset(step + row * 64 + kept, 0, static_cast<std::size_t>(64 - kept));
}

/// The values from `count` on in the last steps of a pair of tiles: the file's padding need not be zero.
void clear_beyond(std::uint8_t* pair, std::int64_t count, PanelForm form) {
  const std::int64_t group = form == PanelForm::bf16 ? kBf16Step : kInt16Group;  // of int8 a step
  const std::int64_t rest = count % group;
  if (rest == 0) return;
  std::uint8_t* step = pair + steps_of(form, count - rest) * 2 * kTileBytes;
  if (form != PanelForm::int16) return clear_ends(step, rest * value_bytes(form));
  clear_ends(step, (rest + 1) / 2 * value_bytes(form));
  clear_ends(step + 2 * kTileBytes, rest / 2 * value_bytes(form));
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

std::span<const std::byte> WeightMatrix::tile_rows(std::int64_t matrix_idx, std::int64_t row, std::int64_t count) const {
  const std::int64_t num_rows = ceil_div(row % kTileSize + count, kTileSize);
  return {tile_row(matrix_idx, row), static_cast<std::size_t>(num_rows * (padded_cols_ / kTileSize) * tile_bytes(dtype_))};
}

void WeightMatrix::decode_row(std::int64_t matrix_idx, std::int64_t row, Columns columns, float* out) const {
  if (layout_ == Layout::row_major) {
    const std::int64_t first = (matrix_idx * rows_ + row) * cols_ + columns.begin;
    copy_elements(bytes_ + first * static_cast<std::int64_t>(element_bytes(dtype_)), dtype_, columns.count, out);
    return;
  }
  const std::byte* tile = tile_row(matrix_idx, row) + columns.begin / kTileSize * tile_bytes(dtype_);
  for (std::int64_t col = 0; col < columns.count; col += kTileSize, tile += tile_bytes(dtype_)) {
    const auto size = static_cast<std::int64_t>(element_bytes(dtype_));
    const std::int64_t left = tile_element_index(row % kTileSize, 0, kTileSize) * size;
    copy_elements(tile + left, dtype_, kFaceSize, out + col);
    copy_elements(tile + left + kFaceSize * kFaceSize * size, dtype_, kFaceSize, out + col + kFaceSize);
  }
}

void WeightMatrix::decode_tiles(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, float* out,
                                std::int64_t out_stride) const {
  const auto decode = dtype_ == DataType::bfloat8_b ? kernels().decode_b8 : kernels().decode_b4;
  for (std::int64_t idx = 0; idx < count;) {
    const std::int64_t first = (row + idx) % kTileSize;
    const std::int64_t here = std::min(kTileSize - first, count - idx);
    decode({.tiles = tiles(matrix_idx, row + idx, columns),
            .num_tiles = columns.padded() / kTileSize,
            .first_row = first,
            .num_rows = here,
            .out = out + idx * out_stride,
            .out_stride = out_stride});
    idx += here;
  }
}

const std::uint8_t* WeightMatrix::tiles(std::int64_t matrix_idx, std::int64_t row, Columns columns) const {
  return reinterpret_cast<const std::uint8_t*>(tile_row(matrix_idx, row) + columns.begin / kTileSize * tile_bytes(dtype_));
}

void WeightMatrix::decode_rows(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, bool as_bf16, float* out,
                               std::int64_t out_stride) const {
  const std::int64_t stride = out_stride == 0 ? columns.padded() : out_stride;
  const bool in_blocks = is_block_float(dtype_);
  if (in_blocks) decode_tiles(matrix_idx, row, count, columns, out, stride);
  for (std::int64_t idx = 0; idx < count; ++idx) {
    float* line = out + idx * stride;
    if (!in_blocks) decode_row(matrix_idx, row + idx, columns, line);
    // The file's padding need not be zero.
    std::fill(line + columns.count, line + columns.padded(), 0.0F);
    if (as_bf16 && dtype_ == DataType::float32) kernels().round_bf16(line, columns.count);  // the other types are exact in bf16
  }
}

void WeightMatrix::decode_magnitudes(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns,
                                     std::uint8_t* magnitudes, float* scales) const {
  const auto pack = dtype_ == DataType::bfloat8_b ? kernels().pack_b8 : kernels().pack_b4;
  const std::int64_t num_blocks = columns.padded() / kInt8Group;
  for (std::int64_t idx = 0; idx < count; idx += kInt8Group) {
    const MagnitudeGroup group = {magnitudes + idx * columns.padded(), scales + idx * num_blocks, num_blocks};
    pack({.tiles = tiles(matrix_idx, row + idx, columns),
          .num_tiles = columns.padded() / kTileSize,
          .lower = (row + idx) % kTileSize >= kInt8Group,
          .out = group.magnitudes,
          .scales = group.scales});
    // The file's padding need not be zero.
    for (std::int64_t line = count - idx; line < kInt8Group; ++line) group.clear_row(line);
    for (std::int64_t col = columns.count; col < columns.padded(); ++col) group.clear_column(col);
  }
}

void WeightMatrix::decode_bf16_tiles(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, void* out) const {
  const TileKernels& tile_kernels = *kernels().tiles;
  auto* pair = static_cast<std::uint8_t*>(out);
  for (std::int64_t idx = 0; idx < count; idx += kPanelRows, pair += columns.padded() / kBf16Step * 2 * kTileBytes) {
    if (!is_block_float(dtype_)) {
      narrow_tiles(matrix_idx, row + idx, std::min(kPanelRows, count - idx), columns, pair);
      continue;
    }
    const auto decode = dtype_ == DataType::bfloat8_b ? tile_kernels.bf16_of_b8 : tile_kernels.bf16_of_b4;
    decode({.tiles = tiles(matrix_idx, row + idx, columns), .num_blocks = ceil_div(columns.count, kFaceSize), .out = pair});
    clear_beyond(pair, columns.count, PanelForm::bf16);
  }
}

/// One pair of tiles of a matrix that is not stored as block floats. \param count at most kPanelRows
void WeightMatrix::narrow_tiles(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, std::uint8_t* pair) const {
  AlignedBuffer<float> line(static_cast<std::size_t>(columns.padded()));
  for (std::int64_t idx = 0; idx < count; ++idx) {
    decode_rows(matrix_idx, row + idx, 1, columns, false, line.data());
    for (std::int64_t col = 0; col < columns.padded(); col += kBf16Step) {
      std::uint8_t* tile_row = pair + col / kBf16Step * 2 * kTileBytes + idx * 64;
      kernels().narrow_bf16(line.data() + col, kBf16Step, reinterpret_cast<std::uint16_t*>(tile_row));
    }
  }
}

void WeightMatrix::decode_integer_tiles(PanelForm form, std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns,
                                        void* out, float* scales) const {
  const TileKernels& tile_kernels = *kernels().tiles;
  const bool eight = dtype_ == DataType::bfloat8_b;
  const auto decode = form == PanelForm::int8 ? (eight ? tile_kernels.int8_of_b8 : tile_kernels.int8_of_b4)
                                              : (eight ? tile_kernels.int16_of_b8 : tile_kernels.int16_of_b4);
  auto* pair = static_cast<std::uint8_t*>(out);
  for (std::int64_t idx = 0; idx < count; idx += kPanelRows) {
    decode(
        {.tiles = tiles(matrix_idx, row + idx, columns), .num_blocks = ceil_div(columns.count, kFaceSize), .out = pair, .scales = scales});
    clear_beyond(pair, columns.count, form);
    pair += steps_of(form, columns.count) * 2 * kTileBytes;
    scales += ceil_div(columns.count, scale_chunk(form)) * kPanelRows;
  }
}

}  // namespace meshseek::cpu

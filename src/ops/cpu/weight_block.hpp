/// Pieces of stored weights, decoded for the kernels.
#pragma once
#include <cstddef>
#include <cstdint>

#include "ops/cpu/tile_kernels.hpp"
#include "tensor/tensor.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {

/// A stack of matrices [.., rows, cols] in any dtype and layout, decoded a few rows at a time.
class WeightMatrix {
 public:
  /// \throws ShapeError when the weight is no matrix, not loaded or of an integer type
  explicit WeightMatrix(const Tensor& weight);

  std::int64_t num_matrices() const { return num_matrices_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  /// Columns rounded up to a multiple of 32: the width of decoded rows.
  std::int64_t padded_cols() const { return padded_cols_; }
  DataType dtype() const { return dtype_; }
  Layout layout() const { return layout_; }
  /// The first tile of the row of tiles that holds `row` (layout TILE).
  const std::byte* tile_row(std::int64_t matrix_idx, std::int64_t row) const;
  /// The rows of tiles that hold `count` rows from `row` on (layout TILE).
  std::span<const std::byte> tile_rows(std::int64_t matrix_idx, std::int64_t row, std::int64_t count) const;

  /// A range of columns: `begin` is a multiple of 32, and so is `count` unless the range ends the row.
  struct Columns {
    std::int64_t begin = 0;
    std::int64_t count = 0;
    std::int64_t padded() const { return round_up(count, kTileSize); }
  };
  Columns all_columns() const { return {0, cols_}; }

  /// Decodes `count` rows from `row` of one matrix into out [count, out_stride], zeros beyond the columns up to columns.padded(); rounded to bf16 when
  /// asked. \param out_stride 0: columns.padded()
  void decode_rows(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, bool as_bf16, float* out,
                   std::int64_t out_stride = 0) const;
  /// Block-float only: signed magnitudes plus kernels().int8_offset, and scales, of `count` rows from `row` (a multiple of 16) in the order of Int8Block;
  /// rows beyond `count` up to a multiple of 16 and columns beyond `columns` count as zeros. Blocks whose values decode to zero have zero magnitudes; a
  /// block that holds Inf or NaN has scale NaN.
  void decode_magnitudes(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, std::uint8_t* magnitudes,
                         float* scales) const;
  /// All types: outputs row.. (a multiple of 32), `count` of them, as left operands of products on tiles (StoredTiles::out, one pair after the other), zeros
  /// beyond the columns; what stands for outputs beyond `count` may be anything.
  void decode_bf16_tiles(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, void* out) const;
  /// Block-float only. \param form int8 or int16  \param scales [pairs][chunks][32]; columns.begin is a multiple of kTileChunk
  void decode_integer_tiles(PanelForm form, std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, void* out,
                            float* scales) const;

 private:
  void decode_row(std::int64_t matrix_idx, std::int64_t row, Columns columns, float* out) const;
  void decode_tiles(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, float* out,
                    std::int64_t out_stride) const;
  void narrow_tiles(std::int64_t matrix_idx, std::int64_t row, std::int64_t count, Columns columns, std::uint8_t* pair) const;
  const std::uint8_t* tiles(std::int64_t matrix_idx, std::int64_t row, Columns columns) const;

  const std::byte* bytes_;
  DataType dtype_;
  Layout layout_;
  std::int64_t num_matrices_ = 1;
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  std::int64_t padded_cols_ = 0;
};

}  // namespace meshseek::cpu

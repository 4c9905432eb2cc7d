/// Rows of activations as float32, whatever they are stored in.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/tensor.hpp"

namespace meshseek::cpu {

/// Which activation rows meet one matrix of a stack, and where the results go: row i of the group is activation row first_x + i * step_x and
/// output row first_y + i * step_y.
struct RowGroup {
  std::int64_t count = 0;
  std::int64_t first_x = 0;
  std::int64_t step_x = 1;
  std::int64_t first_y = 0;
  std::int64_t step_y = 1;
};

/// Reads a row-major float32 or bfloat16 tensor as rows of `cols` values.
class RowReader {
 public:
  /// \throws ShapeError for another element type or layout, or when the storage was freed
  RowReader(const Tensor& tensor, std::int64_t cols);
  /// Copies row `row` into `out` (cols values).
  void read(std::int64_t row, float* out) const { read_at(row, 0, out, cols_); }
  /// Copies `count` values of row `row` from column `col` on.
  void read_at(std::int64_t row, std::int64_t col, float* out, std::int64_t count) const;
  /// The same as bf16, rounded to nearest even.
  void read_bf16(std::int64_t row, std::int64_t col, std::uint16_t* out, std::int64_t count) const;
  std::int64_t num_rows() const { return num_rows_; }
  bool is_bf16() const { return halves_ != nullptr; }
  /// Where `count` rows from `row` on are stored.
  std::span<const std::byte> stored(std::int64_t row, std::int64_t count) const;

 private:
  const float* floats_ = nullptr;
  const bf16* halves_ = nullptr;
  std::int64_t cols_ = 0;
  std::int64_t num_rows_ = 0;
};

/// Writes rows of `cols` values, rounding to nearest even for bfloat16.
class RowWriter {
 public:
  RowWriter(Tensor& tensor, std::int64_t cols);
  void write(std::int64_t row, const float* values) const { write_at(row, 0, values, cols_); }
  /// Writes `count` values from column `col` on.
  void write_at(std::int64_t row, std::int64_t col, const float* values, std::int64_t count) const;

 private:
  float* floats_ = nullptr;
  bf16* halves_ = nullptr;
  std::int64_t cols_ = 0;
};

}  // namespace meshseek::cpu

/// Values of a part of a tensor.
#pragma once
#include <cstdint>
#include <span>

#include "tensor/tensor.hpp"

namespace meshseek {

/// Rows of the tensor seen as a matrix of rows of its last dimension; any dtype and layout.
struct RowRange {
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  std::int64_t first_col = 0;
  std::int64_t num_cols = 0;
};

/// Decodes a part, row-major, each row `stride` values after the one before. \throws ShapeError when the part or `out` does not fit.
void read_rows(const Tensor& tensor, const RowRange& part, std::span<float> out, std::int64_t stride);

}  // namespace meshseek

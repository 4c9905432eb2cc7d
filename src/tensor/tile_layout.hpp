/// The 32x32 tile layout with four 16x16 faces, and encoding of dense float data into any dtype and layout.
/// A tensor [.., H, W] is a 2-D matrix: H padded to 32 per matrix of the batch, W padded to 32; tiles row-major over it;
/// faces (0,0) (0,1) (1,0) (1,1) in a tile; elements row-major in a face.
#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include "tensor/tensor.hpp"

namespace meshseek {

/// The padded 2-D matrix behind a tensor: rows = up32(shape[-2]) * prod(shape[:-2]), cols = up32(shape[-1]) in TILE layout;
/// prod(shape[:-1]) x shape[-1] in ROW_MAJOR. Rank 1 counts as one row, rank 0 as 1x1.
struct PhysicalShape {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
};
PhysicalShape physical_shape(const Shape& shape, Layout layout);

/// Bytes a tensor occupies. \throws ShapeError for a block-float dtype in ROW_MAJOR and for a size beyond 63 bits.
std::int64_t storage_bytes(const Shape& shape, DataType dtype, Layout layout);

/// Index (in elements) of (row, col) of the padded matrix with `physical_cols` columns in tile order.
std::int64_t tile_element_index(std::int64_t row, std::int64_t col, std::int64_t physical_cols);

/// Encodes dense row-major float32 `values` into (dtype, layout) storage bytes; pads with `pad_value` before packing.
/// Integer dtypes take the float value towards zero; it saturates at their range and NaN becomes 0. \throws ShapeError when values.size() is not volume(shape).
std::vector<std::byte> encode(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout, float pad_value = 0.0F);

/// Same into caller memory of exactly storage_bytes(...) bytes; no allocation per call beyond O(32 * cols).
void encode_into(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout, std::span<std::byte> out,
                 float pad_value = 0.0F);

/// encode() of the transpose of the last two dimensions (TTNN's col_tilize=True). The result's shape is `shape` with its last two dimensions swapped.
std::vector<std::byte> encode_col_tilize(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout,
                                         float pad_value = 0.0F);

/// Converts raw row-major elements (any dtype but block float) of `element_size` bytes into tile order, padding with zero bytes.
std::vector<std::byte> tilize_elements(std::span<const std::byte> elements, const Shape& shape, std::size_t element_size);

/// A tensor with storage of its own from dense float values.
Tensor make_tensor(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout);

}  // namespace meshseek

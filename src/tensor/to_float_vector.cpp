#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "tensor/block_float.hpp"
#include "tensor/read_rows.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

float load_element(const std::byte* bytes, DataType dtype) {
  const auto get = [bytes]<class T>(T element) {
    std::memcpy(&element, bytes, sizeof(element));
    return element;
  };
  switch (dtype) {
    case DataType::float32:
      return get(float{});
    case DataType::bfloat16:
      return to_float(get(bf16{}));
    case DataType::uint32:
      return static_cast<float>(get(std::uint32_t{}));
    case DataType::int32:
      return static_cast<float>(get(std::int32_t{}));
    case DataType::uint16:
      return static_cast<float>(get(std::uint16_t{}));
    default:
      return static_cast<float>(get(std::uint8_t{}));
  }
}

/// One row of a tensor; decodes whole tiles and keeps the columns it is asked for.
class RowReader {
 public:
  explicit RowReader(const Tensor& tensor)
      : tensor_(tensor), bytes_(tensor.bytes().data()), physical_cols_(physical_shape(tensor.shape(), tensor.layout()).cols) {
    const Shape& shape = tensor.shape();
    cols_ = shape.empty() ? 1 : shape.back();
    rows_ = shape.size() < 2 ? 1 : shape[shape.size() - 2];
  }

  void read(std::int64_t line, std::int64_t first_col, std::int64_t num_cols, float* out) const {
    const std::int64_t tile_row = line / rows_ * round_up(rows_, kTileSize) + line % rows_;
    if (is_block_float(tensor_.dtype())) return read_blocks(tile_row, first_col, num_cols, out);
    const auto size = static_cast<std::int64_t>(element_bytes(tensor_.dtype()));
    for (std::int64_t col = first_col; col < first_col + num_cols; ++col) {
      const std::int64_t idx = tensor_.layout() == Layout::tile ? tile_element_index(tile_row, col, physical_cols_) : line * cols_ + col;
      out[col - first_col] = load_element(bytes_ + idx * size, tensor_.dtype());
    }
  }

 private:
  void read_blocks(std::int64_t tile_row, std::int64_t first_col, std::int64_t num_cols, float* out) const {
    float values[kTileSize];
    const std::int64_t end = first_col + num_cols;
    for (std::int64_t begin = first_col; begin < end;) {
      const std::int64_t tile_idx = tile_row / kTileSize * (physical_cols_ / kTileSize) + begin / kTileSize;
      decode_tile_row(bytes_ + tile_idx * tile_bytes(tensor_.dtype()), tensor_.dtype(), tile_row % kTileSize, values);
      const std::int64_t stop = std::min((begin / kTileSize + 1) * kTileSize, end);
      std::copy(values + begin % kTileSize, values + begin % kTileSize + (stop - begin), out + (begin - first_col));
      begin = stop;
    }
  }

  const Tensor& tensor_;
  const std::byte* bytes_;
  std::int64_t physical_cols_;
  std::int64_t cols_ = 1;
  std::int64_t rows_ = 1;
};

}  // namespace

void read_rows(const Tensor& tensor, const RowRange& part, std::span<float> out, std::int64_t stride) {
  if (!tensor.has_storage() && tensor.volume() != 0) {
    throw ShapeError(
        fmt::format("[tensor] {} {} was deallocated; its values are gone", to_string(tensor.shape()), to_string(tensor.dtype())));
  }
  if (part.num_rows <= 0 || part.num_cols <= 0) return;
  const std::int64_t cols = tensor.shape().empty() ? 1 : tensor.shape().back();
  const bool fits = part.first_row >= 0 && part.first_col >= 0 && part.first_col + part.num_cols <= cols && part.num_cols <= stride &&
                    (part.first_row + part.num_rows) * cols <= tensor.volume() &&
                    static_cast<std::int64_t>(out.size()) >= (part.num_rows - 1) * stride + part.num_cols;
  if (!fits) {
    throw ShapeError(fmt::format("[tensor] rows {}+{} and columns {}+{} do not fit {}", part.first_row, part.num_rows, part.first_col,
                                 part.num_cols, to_string(tensor.shape())));
  }
  const RowReader reader(tensor);
  for (std::int64_t row = 0; row < part.num_rows; ++row)
    reader.read(part.first_row + row, part.first_col, part.num_cols, out.data() + row * stride);
}

void to_floats(const Tensor& tensor, std::span<float> out) {
  const std::int64_t cols = tensor.shape().empty() ? 1 : tensor.shape().back();
  read_rows(tensor, {0, cols == 0 ? 0 : tensor.volume() / cols, 0, cols}, out, cols);
}

std::vector<float> to_float_vector(const Tensor& tensor) {
  std::vector<float> values(static_cast<std::size_t>(tensor.volume()));
  to_floats(tensor, values);
  return values;
}

}  // namespace meshseek

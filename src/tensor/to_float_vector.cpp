#include <fmt/format.h>

#include <cstring>

#include "base/error.hpp"
#include "tensor/block_float.hpp"
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

}  // namespace

std::vector<float> to_float_vector(const Tensor& tensor) {
  if (!tensor.has_storage() && tensor.volume() != 0) {
    throw ShapeError(
        fmt::format("[tensor] {} {} was deallocated; its values are gone", to_string(tensor.shape()), to_string(tensor.dtype())));
  }
  std::vector<float> values(static_cast<std::size_t>(tensor.volume()));
  const Shape& shape = tensor.shape();
  const std::int64_t cols = shape.empty() ? 1 : shape.back();
  const std::int64_t rows = shape.size() < 2 ? 1 : shape[shape.size() - 2];
  const PhysicalShape physical = physical_shape(shape, tensor.layout());
  const std::byte* bytes = tensor.bytes().data();
  float row_values[kTileSize];
  for (std::int64_t line = 0; line * cols < tensor.volume(); ++line) {
    const std::int64_t tile_row = line / rows * round_up(rows, kTileSize) + line % rows;
    for (std::int64_t col = 0; col < cols; ++col) {
      float& value = values[static_cast<std::size_t>(line * cols + col)];
      if (is_block_float(tensor.dtype())) {
        const std::int64_t tile_idx = tile_row / kTileSize * (physical.cols / kTileSize) + col / kTileSize;
        if (col % kTileSize == 0)
          decode_tile_row(bytes + tile_idx * tile_bytes(tensor.dtype()), tensor.dtype(), tile_row % kTileSize, row_values);
        value = row_values[col % kTileSize];
        continue;
      }
      const std::int64_t idx = tensor.layout() == Layout::tile ? tile_element_index(tile_row, col, physical.cols) : line * cols + col;
      value = load_element(bytes + idx * static_cast<std::int64_t>(element_bytes(tensor.dtype())), tensor.dtype());
    }
  }
  return values;
}

}  // namespace meshseek

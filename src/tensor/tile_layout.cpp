#include "tensor/tile_layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include "base/error.hpp"
#include "tensor/block_encoder.hpp"
#include "tensor/block_float.hpp"

namespace meshseek {
namespace {

std::int64_t last_dim(const Shape& shape, std::size_t from_end) { return shape.size() < from_end ? 1 : shape[shape.size() - from_end]; }

/// A conversion outside T's range is undefined in C++: it saturates here, and NaN becomes 0.
template <class T>
T to_integer(float value) {
  constexpr auto kLimit = static_cast<double>(std::numeric_limits<T>::max());
  const auto wide = static_cast<double>(value);
  if (!(wide > static_cast<double>(std::numeric_limits<T>::min()))) return std::isnan(value) ? T{0} : std::numeric_limits<T>::min();
  return wide >= kLimit ? std::numeric_limits<T>::max() : static_cast<T>(wide);
}

/// Writes values as elements of a plain dtype.
void store_elements(std::span<const float> values, DataType dtype, std::byte* out) {
  const auto put = [&](auto convert) {
    using Element = decltype(convert(0.0F));
    for (std::size_t idx = 0; idx < values.size(); ++idx) {
      const Element element = convert(values[idx]);
      std::memcpy(out + idx * sizeof(Element), &element, sizeof(Element));
    }
  };
  switch (dtype) {
    case DataType::float32:
      return put([](float value) { return value; });
    case DataType::bfloat16:
      return put([](float value) { return to_bf16(value).bits; });
    case DataType::uint32:
      return put(to_integer<std::uint32_t>);
    case DataType::int32:
      return put(to_integer<std::int32_t>);
    case DataType::uint16:
      return put(to_integer<std::uint16_t>);
    case DataType::uint8:
      return put(to_integer<std::uint8_t>);
    case DataType::bfloat8_b:
    case DataType::bfloat4_b:
      break;
  }
  throw ShapeError("[tensor] block-float values are not stored one by one");
}

/// Encodes padded rows (a multiple of 32 values) into the tiles that cover them.
class RowEncoder {
 public:
  RowEncoder(DataType dtype, std::int64_t cols)
      : dtype_(dtype),
        num_blocks_(cols / kFaceSize),
        exponents_(static_cast<std::size_t>(is_block_float(dtype) ? num_blocks_ : 0)),
        codes_(static_cast<std::size_t>(is_block_float(dtype) ? cols : 0)) {}

  void encode(const float* row, std::int64_t physical_row, std::byte* storage) {
    if (dtype_ == DataType::bfloat8_b) block_encoder().bfloat8_b(row, num_blocks_, exponents_.data(), codes_.data());
    if (dtype_ == DataType::bfloat4_b) block_encoder().bfloat4_b(row, num_blocks_, exponents_.data(), codes_.data());
    const std::int64_t row_in_tile = physical_row % kTileSize;
    const std::int64_t first_block = (row_in_tile / kFaceSize) * 2 * kFaceSize + row_in_tile % kFaceSize;
    std::byte* const tiles = storage + physical_row / kTileSize * (num_blocks_ / 2) * tile_bytes(dtype_);
    for (std::int64_t block = 0; block < num_blocks_; ++block) {
      std::byte* const tile = tiles + block / 2 * tile_bytes(dtype_);
      put_face_row(row, block, first_block + block % 2 * kFaceSize, tile);
    }
  }

 private:
  void put_face_row(const float* row, std::int64_t block, std::int64_t face_row, std::byte* tile) const {
    if (!is_block_float(dtype_)) {
      const auto size = static_cast<std::int64_t>(element_bytes(dtype_));
      return store_elements({row + block * kFaceSize, static_cast<std::size_t>(kFaceSize)}, dtype_, tile + face_row * kFaceSize * size);
    }
    tile[face_row] = static_cast<std::byte>(exponents_[static_cast<std::size_t>(block)]);
    const std::uint8_t* const codes = codes_.data() + block * kFaceSize;
    if (dtype_ == DataType::bfloat8_b) {
      std::memcpy(tile + kExponentBytesPerTile + face_row * kFaceSize, codes, static_cast<std::size_t>(kFaceSize));
      return;
    }
    std::byte* const packed = tile + kExponentBytesPerTile + face_row * kFaceSize / 2;
    for (std::int64_t pair = 0; pair < kFaceSize / 2; ++pair)
      packed[pair] = static_cast<std::byte>(codes[2 * pair] | (codes[2 * pair + 1] << 4));
  }

  DataType dtype_;
  std::int64_t num_blocks_;
  std::vector<std::uint8_t> exponents_;  ///< of one row
  std::vector<std::uint8_t> codes_;
};

void encode_tiles(std::span<const float> values, const Shape& shape, DataType dtype, std::span<std::byte> out, float pad_value) {
  const PhysicalShape physical = physical_shape(shape, Layout::tile);
  const std::int64_t rows = last_dim(shape, 2);
  const std::int64_t cols = last_dim(shape, 1);
  const std::int64_t padded_rows = round_up(rows, kTileSize);
  RowEncoder encoder(dtype, physical.cols);
  std::vector<float> line(static_cast<std::size_t>(physical.cols), pad_value);
  for (std::int64_t physical_row = 0; physical_row < physical.rows; ++physical_row) {
    const std::int64_t matrix_idx = physical_row / padded_rows;
    const std::int64_t row = physical_row % padded_rows;
    if (row < rows) {
      const auto source = values.subspan(static_cast<std::size_t>((matrix_idx * rows + row) * cols), static_cast<std::size_t>(cols));
      std::copy(source.begin(), source.end(), line.begin());
    } else if (row == rows) {
      std::fill(line.begin(), line.end(), pad_value);
    }
    encoder.encode(line.data(), physical_row, out.data());
  }
}

std::vector<float> transposed(std::span<const float> values, const Shape& shape) {
  const std::int64_t rows = last_dim(shape, 2);
  const std::int64_t cols = last_dim(shape, 1);
  std::vector<float> result(values.size());
  for (std::int64_t base = 0; base < static_cast<std::int64_t>(values.size()); base += rows * cols) {
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t col = 0; col < cols; ++col) {
        result[static_cast<std::size_t>(base + col * rows + row)] = values[static_cast<std::size_t>(base + row * cols + col)];
      }
    }
  }
  return result;
}

}  // namespace

PhysicalShape physical_shape(const Shape& shape, Layout layout) {
  const std::int64_t total = volume(shape);
  const std::int64_t rows = last_dim(shape, 2);
  const std::int64_t cols = last_dim(shape, 1);
  const std::int64_t matrices = total == 0 ? 0 : total / (rows * cols);
  if (layout == Layout::row_major) return {matrices * rows, cols};
  const auto padded = [&shape](std::int64_t size) {
    return checked_product(size / kTileSize + (size % kTileSize == 0 ? 0 : 1), kTileSize, shape);
  };
  return {checked_product(matrices, padded(rows), shape), padded(cols)};
}

std::int64_t storage_bytes(const Shape& shape, DataType dtype, Layout layout) {
  const PhysicalShape physical = physical_shape(shape, layout);
  if (layout == Layout::tile) {
    const std::int64_t tiles = checked_product(physical.rows / kTileSize, physical.cols / kTileSize, shape);
    return checked_product(tiles, tile_bytes(dtype), shape);
  }
  if (is_block_float(dtype)) {
    throw ShapeError(
        fmt::format("[tensor] {} {} cannot be ROW_MAJOR; block-float types need the TILE layout", to_string(shape), to_string(dtype)));
  }
  return checked_product(volume(shape), static_cast<std::int64_t>(element_bytes(dtype)), shape);
}

std::int64_t tile_element_index(std::int64_t row, std::int64_t col, std::int64_t physical_cols) {
  const std::int64_t tile = row / kTileSize * (physical_cols / kTileSize) + col / kTileSize;
  const std::int64_t face = row % kTileSize / kFaceSize * 2 + col % kTileSize / kFaceSize;
  return tile * kTileSize * kTileSize + face * kFaceSize * kFaceSize + row % kFaceSize * kFaceSize + col % kFaceSize;
}

void encode_into(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout, std::span<std::byte> out,
                 float pad_value) {
  const std::int64_t bytes = storage_bytes(shape, dtype, layout);
  if (static_cast<std::int64_t>(values.size()) != volume(shape) || static_cast<std::int64_t>(out.size()) != bytes) {
    throw ShapeError(fmt::format("[tensor] {} needs {} values and {} bytes but was given {} and {}", to_string(shape), volume(shape), bytes,
                                 values.size(), out.size()));
  }
  if (layout == Layout::tile) return encode_tiles(values, shape, dtype, out, pad_value);
  store_elements(values, dtype, out.data());
}

std::vector<std::byte> encode(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout, float pad_value) {
  std::vector<std::byte> storage(static_cast<std::size_t>(storage_bytes(shape, dtype, layout)));
  encode_into(values, shape, dtype, layout, storage, pad_value);
  return storage;
}

std::vector<std::byte> encode_col_tilize(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout,
                                         float pad_value) {
  if (shape.size() < 2) throw ShapeError(fmt::format("[tensor] {} has no two dimensions to transpose", to_string(shape)));
  Shape swapped = shape;
  std::swap(swapped[swapped.size() - 1], swapped[swapped.size() - 2]);
  return encode(transposed(values, shape), swapped, dtype, layout, pad_value);
}

std::vector<std::byte> tilize_elements(std::span<const std::byte> elements, const Shape& shape, std::size_t element_size) {
  if (static_cast<std::int64_t>(elements.size()) != checked_product(volume(shape), static_cast<std::int64_t>(element_size), shape)) {
    throw ShapeError(fmt::format("[tensor] {} of {}-byte elements was given {} bytes", to_string(shape), element_size, elements.size()));
  }
  const PhysicalShape physical = physical_shape(shape, Layout::tile);
  const std::int64_t rows = last_dim(shape, 2);
  const std::int64_t cols = last_dim(shape, 1);
  std::vector<std::byte> storage(static_cast<std::size_t>(physical.rows * physical.cols) * element_size);
  for (std::int64_t line = 0; line < (cols == 0 ? 0 : volume(shape) / cols); ++line) {
    const std::int64_t physical_row = line / rows * round_up(rows, kTileSize) + line % rows;
    for (std::int64_t col = 0; col < cols; ++col) {
      const auto target = static_cast<std::size_t>(tile_element_index(physical_row, col, physical.cols)) * element_size;
      std::memcpy(storage.data() + target, elements.data() + static_cast<std::size_t>(line * cols + col) * element_size, element_size);
    }
  }
  return storage;
}

Tensor make_tensor(std::span<const float> values, const Shape& shape, DataType dtype, Layout layout) {
  const auto storage = std::make_shared<const std::vector<std::byte>>(encode(values, shape, dtype, layout));
  return {shape, dtype, layout, *storage, storage};
}

}  // namespace meshseek

#include "tensor/tensor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "base/error.hpp"
#include "base/zeroed_memory.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {

std::size_t Shape::checked_rank(std::ptrdiff_t rank) {
  if (rank < 0 || static_cast<std::size_t>(rank) > kMaxRank)
    throw ShapeError(fmt::format("[tensor] a shape of {} dimensions; expected at most {}", rank, kMaxRank));
  return static_cast<std::size_t>(rank);
}

std::int64_t checked_product(std::int64_t a, std::int64_t b, const Shape& shape) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) {
    throw ShapeError(fmt::format("[tensor] shape {} is too large; its size must fit in 63 bits", to_string(shape)));
  }
  return product;
}

std::int64_t volume(const Shape& shape) {
  std::int64_t product = 1;
  for (const std::int64_t dim : shape) {
    if (dim < 0) throw ShapeError(fmt::format("[tensor] shape {} has a negative dimension", to_string(shape)));
    product = checked_product(product, dim, shape);
  }
  return product;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

Tensor::Tensor(Shape shape, DataType dtype, Layout layout, std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive,
               Device* device)
    : shape_(std::move(shape)), dtype_(dtype), layout_(layout), bytes_(bytes), owner_(std::move(keep_alive)), device_(device) {
  const std::int64_t expected = storage_bytes(shape_, dtype_, layout_);
  if (static_cast<std::int64_t>(bytes_.size()) != expected) {
    throw ShapeError(fmt::format("[tensor] {} {} {} needs {} bytes but was given {}", to_string(shape_), to_string(dtype_),
                                 to_string(layout_), expected, bytes_.size()));
  }
}

Tensor Tensor::adopt(std::shared_ptr<void> memory, std::size_t size, Shape shape, DataType dtype, Device* device) {
  if (memory == nullptr) throw std::bad_alloc();
  Tensor tensor;
  tensor.writable_ = static_cast<std::byte*>(memory.get());
  tensor.bytes_ = {tensor.writable_, size};
  tensor.owner_ = std::move(memory);
  tensor.shape_ = std::move(shape);
  tensor.dtype_ = dtype;
  tensor.device_ = device;
  return tensor;
}

Tensor Tensor::empty(Shape shape, DataType dtype, Device* device) {
  const auto size = static_cast<std::size_t>(storage_bytes(shape, dtype, Layout::row_major));
  return adopt({std::malloc(size == 0 ? 1 : size), std::free}, size, std::move(shape), dtype, device);
}

Tensor Tensor::in_memory(std::shared_ptr<void> memory, Shape shape, DataType dtype, Device* device) {
  const auto size = static_cast<std::size_t>(storage_bytes(shape, dtype, Layout::row_major));
  return adopt(std::move(memory), size, std::move(shape), dtype, device);
}

Tensor Tensor::zeros(Shape shape, DataType dtype, Device* device) {
  const auto size = static_cast<std::size_t>(storage_bytes(shape, dtype, Layout::row_major));
  // Large blocks stay untouched: a cache for the whole context costs memory only where it is used.
  if (size >= kHugePage) return adopt(map_zeroed(size), size, std::move(shape), dtype, device);
  return adopt({std::calloc(size == 0 ? 1 : size, 1), std::free}, size, std::move(shape), dtype, device);
}

std::int64_t Tensor::dim(std::int64_t idx) const {
  const std::int64_t position = idx < 0 ? idx + rank() : idx;
  if (position < 0 || position >= rank())
    throw ShapeError(fmt::format("[tensor] dimension {} of {} does not exist", idx, to_string(shape_)));
  return shape_[static_cast<std::size_t>(position)];
}

Tensor Tensor::reshape(Shape shape) const {
  if (layout_ != Layout::row_major || meshseek::volume(shape) != volume()) {
    throw ShapeError(fmt::format("[tensor] {} {} cannot become {}; expected ROW_MAJOR and an equal volume", to_string(shape_),
                                 to_string(layout_), to_string(shape)));
  }
  Tensor result = *this;
  result.shape_ = std::move(shape);
  result.int8_rows_ = {};
  return result;
}

Tensor Tensor::slice_rows(std::int64_t begin, std::int64_t end) const {
  if (layout_ != Layout::row_major || rank() == 0 || begin < 0 || begin > end || end > shape_[0]) {
    throw ShapeError(fmt::format("[tensor] rows {} to {} of {} {} do not exist", begin, end, to_string(shape_), to_string(layout_)));
  }
  Tensor result = *this;
  result.shape_[0] = end - begin;
  result.int8_rows_ = {};
  const std::size_t row_bytes = shape_[0] == 0 ? 0 : bytes_.size() / static_cast<std::size_t>(shape_[0]);
  result.bytes_ = bytes_.subspan(static_cast<std::size_t>(begin) * row_bytes, static_cast<std::size_t>(end - begin) * row_bytes);
  if (result.writable_ != nullptr) result.writable_ += static_cast<std::size_t>(begin) * row_bytes;
  return result;
}

void Tensor::set_int8_rows(Int8Rows rows) {
  if (rank() == 0 || rows.num_rows() * dim(-1) != volume() || rows.padded_cols() != round_up(dim(-1), kTileSize)) {
    throw ShapeError(
        fmt::format("[tensor] {} was given {} rows of {} int8 values", to_string(shape_), rows.num_rows(), rows.padded_cols()));
  }
  int8_rows_ = std::move(rows);
}

void Tensor::deallocate() {
  owner_.reset();
  bytes_ = {};
  writable_ = nullptr;
  int8_rows_ = {};
}

void Tensor::check_type(DataType wanted) const {
  if (wanted != dtype_)
    throw ShapeError(fmt::format("[tensor] {} is {} but was read as {}", to_string(shape_), to_string(dtype_), to_string(wanted)));
}

std::byte* Tensor::writable_bytes() {
  if (writable_ == nullptr)
    throw ShapeError(fmt::format("[tensor] {} {} is read-only or was deallocated", to_string(shape_), to_string(dtype_)));
  int8_rows_ = {};  // of what is written over
  return writable_;
}

void Tensor::fill(std::span<const std::byte> bytes) {
  if (bytes.size() != bytes_.size()) {
    throw ShapeError(
        fmt::format("[tensor] {} {} needs {} bytes but was given {}", to_string(shape_), to_string(dtype_), bytes_.size(), bytes.size()));
  }
  if (!bytes.empty()) std::memcpy(writable_bytes(), bytes.data(), bytes.size());
}

}  // namespace meshseek

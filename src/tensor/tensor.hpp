/// The tensor value: shape, element type, layout and shared storage.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "tensor/dtype.hpp"
#include "tensor/int8_rows.hpp"
#include "tensor/shape.hpp"

namespace meshseek {

class Device;

/// A handle to storage that is shared by its copies, like ttnn.Tensor. Weights point into mapped files; activations own memory.
/// Row-major storage is dense, the last dimension contiguous. Tile storage is TTNN's (see tile_layout.hpp).
class Tensor {
 public:
  Tensor() = default;
  /// Storage made elsewhere; `keep_alive` owns what `bytes` points to. \throws ShapeError when bytes.size() is not storage_bytes(shape, dtype, layout).
  Tensor(Shape shape, DataType dtype, Layout layout, std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive,
         Device* device = nullptr);

  /// Row-major, uninitialised (empty) or zero-filled. Not for block-float types.
  static Tensor empty(Shape shape, DataType dtype, Device* device = nullptr);
  static Tensor zeros(Shape shape, DataType dtype, Device* device = nullptr);
  /// Row-major and uninitialised, in memory that the caller provides: storage_bytes(shape, dtype) bytes, aligned to 64.
  static Tensor in_memory(std::shared_ptr<void> memory, Shape shape, DataType dtype, Device* device);
  /// Row-major copy of `values`. \throws ShapeError when values.size() is not volume(shape).
  template <class T>
  static Tensor from(Shape shape, std::span<const T> values, Device* device = nullptr);

  const Shape& shape() const { return shape_; }
  std::int64_t rank() const { return static_cast<std::int64_t>(shape_.size()); }
  /// Dimension by index; negative counts from the end. \throws ShapeError out of range.
  std::int64_t dim(std::int64_t idx) const;
  std::int64_t volume() const { return meshseek::volume(shape_); }
  DataType dtype() const { return dtype_; }
  Layout layout() const { return layout_; }
  /// The device whose threads compute on this tensor; null for tensors that belong to no device (weights).
  Device* device() const { return device_; }
  /// False after deallocate() and for Tensor(); the other queries of shape and type still work then.
  bool has_storage() const { return owner_ != nullptr || bytes_.data() != nullptr; }

  std::span<const std::byte> bytes() const { return bytes_; }
  /// Typed view of row-major or tile storage. \throws ShapeError when T does not match dtype().
  template <class T>
  std::span<const T> data() const;
  /// Writable view; only for tensors made by empty(), zeros() or from(). \throws ShapeError otherwise.
  template <class T>
  std::span<T> mutable_data();

  /// Same storage under another shape of equal volume (row-major only). \throws ShapeError.
  Tensor reshape(Shape shape) const;
  /// Rows [begin, end) of dimension 0, sharing storage (row-major only). \throws ShapeError.
  Tensor slice_rows(std::int64_t begin, std::int64_t end) const;
  /// The rows along the last dimension as int8, where the operator that wrote the tensor made them too; else empty. Lost by reshape(), slice_rows()
  /// and mutable_data().
  const Int8Rows& int8_rows() const { return int8_rows_; }
  /// When all values are written. \throws ShapeError when the rows are not as many and as long
  void set_int8_rows(Int8Rows rows);

  /// Drops this handle's storage; the memory is freed with the last handle. Shape and type stay readable.
  void deallocate();

 private:
  void check_type(DataType wanted) const;
  static Tensor adopt(std::shared_ptr<void> memory, std::size_t size, Shape shape, DataType dtype, Device* device);
  std::byte* writable_bytes();
  void fill(std::span<const std::byte> bytes);

  Shape shape_;
  DataType dtype_ = DataType::float32;
  Layout layout_ = Layout::row_major;
  std::span<const std::byte> bytes_;
  std::byte* writable_ = nullptr;
  std::shared_ptr<const void> owner_;
  Device* device_ = nullptr;
  Int8Rows int8_rows_;
};

/// The DataType that stores C++ type T (float, bf16, std::uint32_t, std::int32_t, std::uint16_t, std::uint8_t).
template <class T>
constexpr DataType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DataType::float32;
  else if constexpr (std::is_same_v<T, bf16>)
    return DataType::bfloat16;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return DataType::uint32;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return DataType::int32;
  else if constexpr (std::is_same_v<T, std::uint16_t>)
    return DataType::uint16;
  else {
    static_assert(std::is_same_v<T, std::uint8_t>, "no DataType stores this type");
    return DataType::uint8;
  }
}

template <class T>
std::span<const T> Tensor::data() const {
  check_type(dtype_of<T>());
  return {reinterpret_cast<const T*>(bytes_.data()), bytes_.size() / sizeof(T)};
}

template <class T>
std::span<T> Tensor::mutable_data() {
  check_type(dtype_of<T>());
  return {reinterpret_cast<T*>(writable_bytes()), bytes_.size() / sizeof(T)};
}

template <class T>
Tensor Tensor::from(Shape shape, std::span<const T> values, Device* device) {
  Tensor tensor = empty(std::move(shape), dtype_of<T>(), device);
  tensor.fill(std::as_bytes(values));
  return tensor;
}

/// Values of any tensor (any dtype, any layout) as a dense row-major float32 vector of volume() elements. Slow path: tests, reports, small weights.
/// \throws ShapeError when the tensor was deallocated.
std::vector<float> to_float_vector(const Tensor& tensor);
/// The same into memory of the caller. \param out volume() values; \throws ShapeError when there is less room
void to_floats(const Tensor& tensor, std::span<float> out);

}  // namespace meshseek

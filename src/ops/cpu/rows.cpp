#include "ops/cpu/rows.hpp"

#include <fmt/format.h>

#include <cstring>

#include "base/error.hpp"
#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {
namespace {

[[noreturn]] void fail(const Tensor& tensor) {
  throw ShapeError(
      fmt::format("[ops] an activation {} is {}; expected float32 or bfloat16", to_string(tensor.shape()), to_string(tensor.dtype())));
}

void check_storage(const Tensor& tensor) {
  if (tensor.layout() != Layout::row_major) {
    throw ShapeError(
        fmt::format("[ops] an activation {} is {}; expected ROW_MAJOR", to_string(tensor.shape()), to_string(tensor.layout())));
  }
  if (tensor.bytes().empty() && tensor.volume() != 0) {
    throw ShapeError(fmt::format("[ops] an activation {} was deallocated; expected its storage", to_string(tensor.shape())));
  }
}

}  // namespace

RowReader::RowReader(const Tensor& tensor, std::int64_t cols) : cols_(cols), num_rows_(cols == 0 ? 0 : tensor.volume() / cols) {
  check_storage(tensor);
  if (tensor.dtype() == DataType::float32)
    floats_ = tensor.data<float>().data();
  else if (tensor.dtype() == DataType::bfloat16)
    halves_ = tensor.data<bf16>().data();
  else
    fail(tensor);
}

void RowReader::read_at(std::int64_t row, std::int64_t col, float* out, std::int64_t count) const {
  if (floats_ != nullptr) {
    std::copy_n(floats_ + row * cols_ + col, count, out);
    return;
  }
  kernels().widen_bf16(&halves_[row * cols_ + col].bits, count, out);
}

void RowReader::read_bf16(std::int64_t row, std::int64_t col, std::uint16_t* out, std::int64_t count) const {
  if (halves_ != nullptr)
    std::memcpy(out, halves_ + row * cols_ + col, static_cast<std::size_t>(count) * sizeof(bf16));
  else
    kernels().narrow_bf16(floats_ + row * cols_ + col, count, out);
}

std::span<const std::byte> RowReader::stored(std::int64_t row, std::int64_t count) const {
  const auto begin = static_cast<std::size_t>(row * cols_), size = static_cast<std::size_t>(count * cols_);
  if (floats_ != nullptr) return std::as_bytes(std::span(floats_ + begin, size));
  return std::as_bytes(std::span(halves_ + begin, size));
}

RowWriter::RowWriter(Tensor& tensor, std::int64_t cols) : cols_(cols) {
  check_storage(tensor);
  if (tensor.dtype() == DataType::float32)
    floats_ = tensor.mutable_data<float>().data();
  else if (tensor.dtype() == DataType::bfloat16)
    halves_ = tensor.mutable_data<bf16>().data();
  else
    fail(tensor);
}

void RowWriter::write_at(std::int64_t row, std::int64_t col, const float* values, std::int64_t count) const {
  if (floats_ != nullptr) {
    std::copy_n(values, count, floats_ + row * cols_ + col);
    return;
  }
  kernels().narrow_bf16(values, count, &halves_[row * cols_ + col].bits);
}

}  // namespace meshseek::cpu

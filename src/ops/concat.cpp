#include "ops/concat.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "ops/capture.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

/// Writable bytes of a tensor that was just made.
std::byte* bytes_of(Tensor& tensor) {
  if (tensor.dtype() == DataType::int32) return reinterpret_cast<std::byte*>(tensor.mutable_data<std::int32_t>().data());
  if (tensor.dtype() == DataType::float32) return reinterpret_cast<std::byte*>(tensor.mutable_data<float>().data());
  return reinterpret_cast<std::byte*>(tensor.mutable_data<bf16>().data());
}

std::size_t row_bytes(const Tensor& tensor) { return static_cast<std::size_t>(tensor.dim(-1)) * element_bytes(tensor.dtype()); }

/// What can be copied row by row. \throws ShapeError naming the tensor
void check(const Tensor& x, std::string_view op, bool allows_integers = false) {
  const bool known = x.dtype() == DataType::float32 || x.dtype() == DataType::bfloat16 || (allows_integers && x.dtype() == DataType::int32);
  const bool stored = x.volume() == 0 || !x.bytes().empty();
  if (x.rank() > 0 && known && stored && x.layout() == Layout::row_major) return;
  throw ShapeError(fmt::format("[{}] the input is {} {} {}{}; expected ROW_MAJOR rows of float32{} or bfloat16", op, to_string(x.shape()),
                               to_string(x.dtype()), to_string(x.layout()), stored ? "" : ", deallocated",
                               allows_integers ? ", int32" : ""));
}

Int8Rows take_int8_rows(const Int8Rows& x, std::span<const std::int64_t> rows, std::int64_t cols, Device& device) {
  const Int8Rows y = make_int8_rows(static_cast<std::int64_t>(rows.size()), cols, device);
  for (std::int64_t idx = 0; idx < y.num_rows(); ++idx) {
    const std::int64_t row = rows[static_cast<std::size_t>(idx)];
    std::copy_n(x.codes(row), x.padded_cols(), y.codes(idx));
    std::copy_n(x.scales(row), x.groups_per_row(), y.scales(idx));
    std::copy_n(x.corrections(row), x.groups_per_row(), y.corrections(idx));
  }
  return y;
}

}  // namespace

Tensor concat(const Tensor& a, const Tensor& b, const ConcatConfig& cfg) {
  const RecordedCall call(a, "concat", cfg, [&](CallValues& in) { in.add("a", a).add("b", b); });
  Device& device = device_of(a, "concat");
  log_operator(device, "concat", [&] { return fmt::format("a {} b {}", to_string(a.shape()), to_string(b.shape())); });
  validate(cfg, "concat");
  check(a, "concat");
  check(b, "concat");
  const Shape a_outer(a.shape().begin(), a.shape().end() - 1);
  const Shape b_outer(b.shape().begin(), b.shape().end() - 1);
  if (a_outer != b_outer || a.dtype() != b.dtype()) {
    throw ShapeError(fmt::format("[concat] a is {} {} but b is {} {}; expected equal types and outer dimensions", to_string(a.shape()),
                                 to_string(a.dtype()), to_string(b.shape()), to_string(b.dtype())));
  }
  Shape shape = a.shape();
  shape.back() += b.dim(-1);
  Tensor y = make_result(shape, a.dtype(), device);
  std::byte* out = bytes_of(y);
  for (std::int64_t row = 0; row < volume(a_outer); ++row) {
    for (const Tensor* part : {&a, &b}) {
      std::memcpy(out, part->bytes().data() + static_cast<std::size_t>(row) * row_bytes(*part), row_bytes(*part));
      out += row_bytes(*part);
    }
  }
  return call.result(std::move(y));
}

Tensor slice_columns(const Tensor& x, std::int64_t begin, std::int64_t end) {
  const RecordedCall call(x, "slice_columns", [&](CallValues& in) { in.add("x", x).add("begin", begin).add("end", end); });
  Device& device = device_of(x, "slice_columns");
  log_operator(device, "slice_columns", [&] { return fmt::format("x {} columns {} to {}", to_string(x.shape()), begin, end); });
  check(x, "slice_columns");
  if (begin < 0 || begin >= end || end > x.dim(-1)) {
    throw ShapeError(fmt::format("[slice_columns] columns {} to {} of {} do not exist; expected 0 <= begin < end <= {}", begin, end,
                                 to_string(x.shape()), x.dim(-1)));
  }
  Shape shape = x.shape();
  shape.back() = end - begin;
  Tensor y = make_result(shape, x.dtype(), device);
  std::byte* out = bytes_of(y);
  const std::size_t offset = static_cast<std::size_t>(begin) * element_bytes(x.dtype());
  for (std::size_t row = 0; row < x.bytes().size() / row_bytes(x); ++row, out += row_bytes(y)) {
    std::memcpy(out, x.bytes().data() + row * row_bytes(x) + offset, row_bytes(y));
  }
  return call.result(std::move(y));
}

Tensor pad_columns(const Tensor& x, std::int64_t columns) {
  const RecordedCall call(x, "pad_columns", [&](CallValues& in) { in.add("x", x).add("columns", columns); });
  Device& device = device_of(x, "pad_columns");
  log_operator(device, "pad_columns", [&] { return fmt::format("x {} to {} columns", to_string(x.shape()), columns); });
  check(x, "pad_columns");
  if (columns < x.dim(-1)) {
    throw ShapeError(
        fmt::format("[pad_columns] {} has more than {} columns; expected at least as many as there are", to_string(x.shape()), columns));
  }
  Shape shape = x.shape();
  shape.back() = columns;
  Tensor y = Tensor::zeros(shape, x.dtype(), &device);
  std::byte* out = bytes_of(y);
  for (std::size_t row = 0; row < x.bytes().size() / row_bytes(x); ++row, out += row_bytes(y)) {
    std::memcpy(out, x.bytes().data() + row * row_bytes(x), row_bytes(x));
  }
  return call.result(std::move(y));
}

Tensor take_rows(const Tensor& x, std::span<const std::int64_t> rows, const MemoryConfig& memory_config) {
  const RecordedCall call(x, "take_rows", [&](CallValues& in) { in.add("x", x).add("rows", rows); });
  Device& device = device_of(x, "take_rows");
  log_operator(device, "take_rows", [&] { return fmt::format("x {} rows {}", to_string(x.shape()), rows.size()); });
  check(x, "take_rows", true);
  Shape shape = x.shape();
  shape.front() = static_cast<std::int64_t>(rows.size());
  Tensor y = make_result(shape, x.dtype(), memory_config, device, "take_rows");
  const std::size_t bytes_a_row = x.dim(0) == 0 ? 0 : x.bytes().size() / static_cast<std::size_t>(x.dim(0));
  std::byte* out = bytes_of(y);
  for (const std::int64_t row : rows) {
    if (row < 0 || row >= x.dim(0)) {
      throw ShapeError(fmt::format("[take_rows] row {} of {} does not exist; expected 0 to {}", row, to_string(x.shape()), x.dim(0) - 1));
    }
    std::memcpy(out, x.bytes().data() + static_cast<std::size_t>(row) * bytes_a_row, bytes_a_row);
    out += bytes_a_row;
  }
  if (!x.int8_rows().empty() && x.rank() == 2) y.set_int8_rows(take_int8_rows(x.int8_rows(), rows, x.dim(1), device));
  return call.result(std::move(y));
}

}  // namespace meshseek

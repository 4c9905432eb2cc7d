#include "ops/binary.hpp"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/operator_log.hpp"

namespace meshseek {
namespace {

float sigmoid(float x) { return 1.0F / (1.0F + std::exp(-x)); }

void apply(UnaryOpType op, std::vector<float>& values) {
  for (float& value : values) value = op == UnaryOpType::SILU ? value * sigmoid(value) : sigmoid(value);
}

/// Combines rows of a and b, prepared by `combine(a_row, b_row)` which leaves the result in a_row.
template <class Combine>
Tensor elementwise(const Tensor& a, const Tensor& b, DataType dtype, std::string_view op, Combine&& combine) {
  Device& device = device_of(a, op);
  log_operator(device, op, [&] { return fmt::format("a {} b {}", to_string(a.shape()), to_string(b.shape())); });
  if (a.shape() != b.shape()) {
    throw ShapeError(fmt::format("[{}] a is {} but b is {}; expected equal shapes", op, to_string(a.shape()), to_string(b.shape())));
  }
  const std::int64_t dim = a.dim(-1);
  Tensor y = Tensor::empty(a.shape(), dtype, &device);
  const cpu::RowReader read_a(a, dim);
  const cpu::RowReader read_b(b, dim);
  const cpu::RowWriter writer(y, dim);
  device.team().parallel_for(static_cast<std::size_t>(read_a.num_rows()), 8, [&](std::size_t begin, std::size_t end) {
    std::vector<float> row_a(static_cast<std::size_t>(dim));
    std::vector<float> row_b(row_a.size());
    for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
      read_a.read(row, row_a.data());
      read_b.read(row, row_b.data());
      combine(row_a, row_b);
      writer.write(row, row_a.data());
    }
  });
  return y;
}

}  // namespace

Tensor mul(const Tensor& a, const Tensor& b, const MulConfig& cfg) {
  const RecordedCall call(a, "mul", cfg, [&](CallValues& in) { in.add("a", a).add("b", b); });
  return call.result(elementwise(a, b, cfg.dtype.value_or(a.dtype()), "mul", [&](std::vector<float>& row_a, const std::vector<float>& row_b) {
    for (const UnaryOpType op : cfg.input_tensor_a_activations) apply(op, row_a);
    for (std::size_t col = 0; col < row_a.size(); ++col) row_a[col] *= row_b[col];
  }));
}

Tensor binary(const Tensor& a, const Tensor& b, const BinaryConfig& cfg) {
  const RecordedCall call(a, "binary", cfg, [&](CallValues& in) { in.add("a", a).add("b", b); });
  return call.result(elementwise(a, b, cfg.dtype.value_or(a.dtype()), "binary", [](std::vector<float>& row_a, const std::vector<float>& row_b) {
    for (std::size_t col = 0; col < row_a.size(); ++col) row_a[col] += row_b[col];
  }));
}

}  // namespace meshseek

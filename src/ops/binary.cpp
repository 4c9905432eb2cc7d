#include "ops/binary.hpp"

#include <fmt/format.h>

#include <span>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/unary.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

/// Combines pieces of rows of a and b by `combine(a_values, b_values)`, which leaves the result in a_values.
template <class Combine>
Tensor elementwise(const Tensor& a, const Tensor& b, DataType dtype, const MemoryConfig& memory_config, std::string_view op,
                   Combine&& combine) {
  Device& device = device_of(a, op);
  if (a.shape() != b.shape()) {
    throw ShapeError(fmt::format("[{}] a is {} but b is {}; expected equal shapes", op, to_string(a.shape()), to_string(b.shape())));
  }
  const std::int64_t dim = a.dim(-1);
  const cpu::RowReader read_a(a, dim);
  const cpu::RowReader read_b(b, dim);
  const ShardPlan plan = make_shard_plan(memory_config, read_a.num_rows(), dim, device, op);
  log_operator(
      device, op, [&] { return fmt::format("a {} b {}", to_string(a.shape()), to_string(b.shape())); },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(memory_config)); });
  Tensor y = make_result(a.shape(), dtype, memory_config, device, op);
  const cpu::RowWriter writer(y, dim);
  for_each_piece(plan, device.team(), 8, [&](const Piece& piece) {
    const std::int64_t count = piece.col_end - piece.col_begin;
    const Scratch<float> a_values(count, device);
    const Scratch<float> b_values(count, device);
    for (std::int64_t row = piece.row_begin; row < piece.row_end; ++row) {
      read_a.read_at(row, piece.col_begin, a_values.data(), count);
      read_b.read_at(row, piece.col_begin, b_values.data(), count);
      combine(std::span<float>(a_values), std::span<const float>(b_values));
      writer.write_at(row, piece.col_begin, a_values.data(), count);
    }
  });
  return y;
}

}  // namespace

Tensor mul(const Tensor& a, const Tensor& b, const MulConfig& cfg) {
  const RecordedCall call(a, "mul", cfg, [&](CallValues& in) { in.add("a", a).add("b", b); });
  validate(cfg, "mul");
  const auto combine = [&](std::span<float> a_values, std::span<const float> b_values) {
    for (const UnaryOpType op : cfg.input_tensor_a_activations) apply_unary(op, a_values);
    for (std::size_t col = 0; col < a_values.size(); ++col) a_values[col] *= b_values[col];
  };
  return call.result(elementwise(a, b, cfg.dtype.value_or(a.dtype()), cfg.memory_config, "mul", combine));
}

Tensor binary(const Tensor& a, const Tensor& b, const BinaryConfig& cfg) {
  const RecordedCall call(a, "binary", cfg, [&](CallValues& in) { in.add("a", a).add("b", b); });
  validate(cfg, "binary");
  const auto combine = [](std::span<float> a_values, std::span<const float> b_values) {
    for (std::size_t col = 0; col < a_values.size(); ++col) a_values[col] += b_values[col];
  };
  return call.result(elementwise(a, b, cfg.dtype.value_or(a.dtype()), cfg.memory_config, "binary", combine));
}

}  // namespace meshseek

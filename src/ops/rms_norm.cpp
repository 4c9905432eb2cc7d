#include "ops/rms_norm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

Scratch<float> weight_values(const Tensor& weight, Device& device) {
  Scratch<float> values(weight.volume(), device);
  const bool has_rows = weight.layout() == Layout::row_major && (weight.dtype() == DataType::float32 || weight.dtype() == DataType::bfloat16);
  if (has_rows && weight.has_storage())
    cpu::RowReader(weight, weight.volume()).read(0, values.data());
  else
    std::ranges::copy(to_float_vector(weight), values.begin());
  return values;
}

}  // namespace

Tensor rms_norm(const Tensor& x, const RmsNormConfig& cfg) {
  const RecordedCall call(x, "rms_norm", cfg, [&](CallValues& in) { in.add("x", x); });
  Device& device = device_of(x, "rms_norm");
  validate(cfg, "rms_norm");
  const std::int64_t dim = x.dim(-1);
  if (cfg.weight.tensor.rank() == 0 || cfg.weight.tensor.volume() != dim) {
    throw ShapeError(fmt::format("[rms_norm] x is {} but the weight is {}; expected [{}]", to_string(x.shape()),
                                 to_string(cfg.weight.tensor.shape()), dim));
  }
  const Scratch<float> weight = weight_values(cfg.weight.tensor, device);
  const cpu::RowReader reader(x, dim);
  const ShardPlan plan = make_shard_plan(cfg.memory_config, reader.num_rows(), dim, device, "rms_norm");
  log_operator(
      device, "rms_norm", [&] { return fmt::format("x {} epsilon {}", to_string(x.shape()), cfg.epsilon); },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(cfg.memory_config)); });
  Tensor y = make_result(x.shape(), cfg.dtype, cfg.memory_config, device, "rms_norm");
  const cpu::RowWriter writer(y, dim);
  for_each_piece(plan, device.team(), 8, [&](const Piece& piece) {
    const Scratch<float> line(dim, device);
    for (std::int64_t row = piece.row_begin; row < piece.row_end; ++row) {
      reader.read(row, line.data());
      double squares = 0.0;
      for (const float value : line) squares += static_cast<double>(value) * static_cast<double>(value);
      const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / static_cast<double>(dim) + cfg.epsilon));
      for (std::size_t col = 0; col < line.size(); ++col) line[col] = line[col] * inverse * weight[col];
      writer.write(row, line.data());
    }
  });
  return call.result(std::move(y));
}

}  // namespace meshseek

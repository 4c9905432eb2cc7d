#include "ops/reshard.hpp"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {

Tensor reshard(const Tensor& x, const ReshardConfig& cfg) {
  const RecordedCall call(x, "reshard", cfg, [&](CallValues& in) { in.add("x", x); });
  Device& device = device_of(x, "reshard");
  validate(cfg, "reshard");
  const std::int64_t dim = x.dim(-1);
  const cpu::RowReader reader(x, dim);
  const ShardPlan plan = make_shard_plan(cfg.memory_config, reader.num_rows(), dim, device, "reshard");
  log_operator(
      device, "reshard", [&] { return fmt::format("x {}", to_string(x.shape())); },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(cfg.memory_config)); });
  Tensor y = make_result(x.shape(), cfg.dtype.value_or(x.dtype()), cfg.memory_config, device, "reshard");
  const cpu::RowWriter writer(y, dim);
  for_each_piece(plan, device.team(), 8, [&](const Piece& piece) {
    const std::int64_t count = piece.col_end - piece.col_begin;
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::int64_t row = piece.row_begin; row < piece.row_end; ++row) {
      reader.read_at(row, piece.col_begin, values.data(), count);
      writer.write_at(row, piece.col_begin, values.data(), count);
    }
  });
  return call.result(std::move(y));
}

}  // namespace meshseek

#include "ops/embedding.hpp"

#include <fmt/format.h>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/cpu/weight_block.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {

Tensor embedding(const Tensor& ids, const EmbeddingConfig& cfg) {
  const RecordedCall call(ids, "embedding", cfg, [&](CallValues& in) { in.add("ids", ids); });
  Device& device = device_of(ids, "embedding");
  const Tensor& table = cfg.weight.tensor;
  if (ids.rank() != 1 || table.rank() != 2) {
    throw ShapeError(fmt::format("[embedding] ids are {} and the table {}; expected [T] and [vocab, hidden]", to_string(ids.shape()),
                                 to_string(table.shape())));
  }
  const cpu::WeightMatrix rows(table);
  validate(cfg, "embedding");
  const ShardPlan plan = make_shard_plan(cfg.memory_config, ids.dim(0), table.dim(1), device, "embedding");
  log_operator(
      device, "embedding",
      [&] { return fmt::format("ids {} table {} {}", to_string(ids.shape()), to_string(table.shape()), to_string(table.dtype())); },
      [&] { return fmt::format("{}, result in {}", to_string(plan), to_string(cfg.memory_config)); });
  const auto values = ids.data<std::uint32_t>();
  for (std::size_t position = 0; position < values.size(); ++position) {
    if (values[position] >= table.dim(0)) {
      throw Error(fmt::format("[embedding] token id {} at position {} is beyond the table of {} rows; is this the tokenizer of the model?",
                              values[position], position, table.dim(0)));
    }
  }
  Tensor y = make_result({ids.dim(0), table.dim(1)}, cfg.dtype, cfg.memory_config, device, "embedding");  // [T, hidden]
  const cpu::RowWriter writer(y, table.dim(1));
  for_each_piece(plan, device.team(), 8, [&](const Piece& piece) {
    const Scratch<float> line(rows.padded_cols(), device);
    for (std::int64_t position = piece.row_begin; position < piece.row_end; ++position) {
      rows.decode_rows(0, values[static_cast<std::size_t>(position)], 1, rows.all_columns(), false, line.data());
      writer.write(position, line.data());
    }
  });
  return call.result(std::move(y));
}

}  // namespace meshseek

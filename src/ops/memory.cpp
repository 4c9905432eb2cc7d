#include "ops/memory.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

/// The grid's extents for BLOCK_SHARDED: [cores along rows, cores along columns].
CoreCoord block_grid(const ShardSpec& spec) {
  const CoreRange& range = spec.grid.front();
  const CoreCoord size = {range.end.x - range.start.x + 1, range.end.y - range.start.y + 1};
  return spec.orientation == ShardOrientation::ROW_MAJOR ? CoreCoord{size.x, size.y} : CoreCoord{size.y, size.x};
}

/// Without a shard spec: even pieces, one for each thread, whole tiles of columns.
void share_out(ShardPlan& plan, std::int64_t cores) {
  switch (plan.memory_layout) {
    case TensorMemoryLayout::WIDTH_SHARDED:
      plan.col_cores = cores;
      break;
    case TensorMemoryLayout::BLOCK_SHARDED: {
      const CoreCoord grid = find_prefill_grid(std::max<std::int64_t>(1, plan.rows), matmul_program_config::tiles(plan.cols), cores);
      plan.row_cores = grid.y;
      plan.col_cores = grid.x;
      break;
    }
    default:
      plan.row_cores = cores;
  }
  plan.rows_per_core = ceil_div(plan.rows, plan.row_cores);
  plan.cols_per_core = plan.col_cores == 1 ? plan.cols : round_up(ceil_div(plan.cols, plan.col_cores), kTileSize);
}

void apply_spec(ShardPlan& plan, const ShardSpec& spec) {
  const std::int64_t cores = num_cores(spec.grid);
  switch (plan.memory_layout) {
    case TensorMemoryLayout::WIDTH_SHARDED:
      plan.col_cores = cores;
      break;
    case TensorMemoryLayout::BLOCK_SHARDED:
      plan.col_cores = block_grid(spec).x;
      plan.row_cores = block_grid(spec).y;
      plan.cores_by_column = spec.orientation == ShardOrientation::COL_MAJOR;
      break;
    default:
      plan.row_cores = cores;
  }
  plan.rows_per_core = spec.shape[0];
  plan.cols_per_core = spec.shape[1];
}

void check_field(std::int64_t given, std::int64_t expected, std::string_view what, std::string_view op) {
  if (given == expected) return;
  throw ConfigError(
      fmt::format("[{}] memory_config.shard_spec has {} {} but the program config has {}; the shards of a product are those of its program",
                  op, what, given, expected));
}

std::string_view layout_of(const MatmulPlan& plan) {
  if (plan.row_cores > 1) return plan.col_cores > 1 ? "BLOCK_SHARDED" : "HEIGHT_SHARDED";
  return plan.col_cores > 1 ? "WIDTH_SHARDED" : "";
}

}  // namespace

Tensor make_result(Shape shape, DataType dtype, const MemoryConfig& memory_config, Device& device, std::string_view op) {
  const std::int64_t bytes = storage_bytes(shape, dtype, Layout::row_major);
  if (memory_config.buffer_type != BufferType::L1) {
    device.count_dram_bytes(bytes);
    return make_result(std::move(shape), dtype, device);
  }
  std::shared_ptr<void> memory = device.l1().allocate(static_cast<std::size_t>(bytes));
  if (memory == nullptr) {
    throw Error(fmt::format("[{}] the result {} needs {} bytes of L1, and {} of {} are in use; set memory_config.buffer_type to DRAM", op,
                            to_string(shape), bytes, device.l1().used(), device.l1().capacity()));
  }
  return Tensor::in_memory(std::move(memory), std::move(shape), dtype, &device);
}

Tensor make_result(Shape shape, DataType dtype, Device& device) {
  const auto bytes = static_cast<std::size_t>(storage_bytes(shape, dtype, Layout::row_major));
  return Tensor::in_memory(device.dram().allocate(bytes), std::move(shape), dtype, &device);
}

ShardPlan make_shard_plan(const MemoryConfig& memory_config, std::int64_t rows, std::int64_t cols, const Device& device,
                          std::string_view op) {
  ShardPlan plan = {.memory_layout = memory_config.memory_layout, .rows = rows, .cols = cols};
  if (plan.memory_layout == TensorMemoryLayout::INTERLEAVED || !memory_config.shard_spec) {
    share_out(plan, device.description().num_cores);
    return plan;
  }
  apply_spec(plan, *memory_config.shard_spec);
  if (plan.row_cores * plan.rows_per_core < rows || plan.col_cores * plan.cols_per_core < cols) {
    throw ShapeError(fmt::format("[{}] the result is {} x {} but {} x {} shards of {} x {} cover less; enlarge memory_config.shard_spec",
                                 op, rows, cols, plan.row_cores, plan.col_cores, plan.rows_per_core, plan.cols_per_core));
  }
  return plan;
}

void for_each_piece(const ShardPlan& plan, ThreadTeam& team, std::size_t grain, PieceBody body) {
  if (plan.memory_layout == TensorMemoryLayout::INTERLEAVED) {
    team.parallel_for(static_cast<std::size_t>(plan.rows), grain, [&](std::size_t begin, std::size_t end) {
      body.call(body.object, {static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end), 0, plan.cols});
    });
    return;
  }
  const std::int64_t cores = plan.row_cores * plan.col_cores;
  team.parallel_for(static_cast<std::size_t>(cores), 1, [&](std::size_t begin, std::size_t end) {
    for (auto core = static_cast<std::int64_t>(begin); core < static_cast<std::int64_t>(end); ++core) {
      const std::int64_t row_core = plan.cores_by_column ? core % plan.row_cores : core / plan.col_cores;
      const std::int64_t col_core = plan.cores_by_column ? core / plan.row_cores : core % plan.col_cores;
      const Piece piece = {row_core * plan.rows_per_core, std::min((row_core + 1) * plan.rows_per_core, plan.rows),
                           col_core * plan.cols_per_core, std::min((col_core + 1) * plan.cols_per_core, plan.cols)};
      if (piece.row_begin < piece.row_end && piece.col_begin < piece.col_end) body.call(body.object, piece);
    }
  });
}

void check_shards(const MemoryConfig& memory_config, const MatmulPlan& plan, std::string_view op) {
  if (memory_config.memory_layout == TensorMemoryLayout::INTERLEAVED) return;
  const std::string_view given = enum_name(memory_config.memory_layout);
  const std::string_view made = layout_of(plan);
  if (!made.empty() && given != made) {
    throw ConfigError(fmt::format("[{}] memory_config is {} but the program config makes {} results; make them agree", op, given, made));
  }
  if (!memory_config.shard_spec) return;
  const ShardSpec& spec = *memory_config.shard_spec;
  check_field(num_cores(spec.grid), plan.num_cores(), "cores", op);
  if (memory_config.memory_layout != TensorMemoryLayout::HEIGHT_SHARDED) check_field(spec.shape[1], plan.cols_per_core, "width", op);
  check_field(spec.shape[0], plan.rows_per_core, "height", op);
}

std::int64_t num_cores(const CoreRangeSet& grid) {
  std::int64_t cores = 0;
  for (const CoreRange& range : grid) cores += std::int64_t{range.end.x - range.start.x + 1} * (range.end.y - range.start.y + 1);
  return cores;
}

std::string to_string(const MemoryConfig& memory_config) {
  std::string text(enum_name(memory_config.buffer_type));
  if (memory_config.memory_layout == TensorMemoryLayout::INTERLEAVED) return text;
  text += fmt::format(" {}", enum_name(memory_config.memory_layout));
  if (const auto& spec = memory_config.shard_spec)
    text += fmt::format(" {} cores [{}, {}]", num_cores(spec->grid), spec->shape[0], spec->shape[1]);
  return text;
}

std::string to_string(const ShardPlan& plan) {
  if (plan.memory_layout == TensorMemoryLayout::INTERLEAVED) return "rows over the threads";
  return fmt::format("{} cores: {} x {}, each {} x {}", plan.row_cores * plan.col_cores, plan.row_cores, plan.col_cores, plan.rows_per_core,
                     plan.cols_per_core);
}

}  // namespace meshseek

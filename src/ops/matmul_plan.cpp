#include "ops/matmul_plan.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"

namespace meshseek {
namespace {

using matmul_program_config::kTile;
using matmul_program_config::tiles;

/// The shares of the grid before blocking.
MatmulPlan shares(const MatmulMultiCoreReuseMultiCast1DProgramConfig& program, const MatmulSizes&) {
  const std::int64_t cores = std::int64_t{program.compute_with_storage_grid_size.x} * program.compute_with_storage_grid_size.y;
  return program.mcast_in0 ? MatmulPlan{.col_cores = cores} : MatmulPlan{.row_cores = cores};
}

MatmulPlan shares(const MatmulMultiCoreReuseMultiCastProgramConfig& program, const MatmulSizes& sizes) {
  if (sizes.num_matrices > 1) {
    throw ConfigError(fmt::format("[program_config] {} serves one matrix, but the weight is a stack of {}; use {}", program.kType,
                                  sizes.num_matrices, MatmulMultiCoreReuseMultiCast1DProgramConfig::kType));
  }
  const CoreCoord grid = program.compute_with_storage_grid_size;
  if (program.transpose_mcast) return {.row_cores = grid.x, .col_cores = grid.y, .cores_by_column = true};
  return {.row_cores = grid.y, .col_cores = grid.x};
}

MatmulPlan shares(const MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig& program, const MatmulSizes& sizes) {
  if (sizes.num_matrices > 1) {
    throw ConfigError(fmt::format("[program_config] {} serves one matrix, but the weight is a stack of {}; use {}", program.kType,
                                  sizes.num_matrices, MatmulMultiCoreReuseMultiCast1DProgramConfig::kType));
  }
  return {.col_cores = num_cores(program, sizes.n)};
}

template <class Program>
MatmulPlan plan_of(const Program& program, const MatmulSizes& sizes) {
  MatmulPlan plan = shares(program, sizes);
  plan.rows_per_core = program.per_core_M * kTile;
  plan.cols_per_core = program.per_core_N * kTile;
  plan.k_block = program.in0_block_w * kTile;
  plan.row_block = kTile;
  plan.col_block = kTile;
  if constexpr (requires { program.out_subblock_h; }) {
    plan.row_block = program.out_subblock_h * kTile;
    plan.col_block = program.out_subblock_w * kTile;
  }
  plan.tile_rows = program.tile_rows;
  plan.activation = program.fused_activation;
  return plan;
}

}  // namespace

MatmulPlan make_matmul_plan(const MatmulProgramConfig& program, const MatmulSizes& sizes, std::string_view op) {
  const MatmulPlan plan = std::visit([&](const auto& chosen) { return plan_of(chosen, sizes); }, program);
  if (plan.row_cores * plan.rows_per_core < sizes.m) {
    throw ShapeError(
        fmt::format("[{}] x has {} rows but the program config takes {} (per_core_M {} on {} cores); raise per_core_M or set program_rule",
                    op, sizes.m, plan.row_cores * plan.rows_per_core, plan.rows_per_core / kTile, plan.row_cores));
  }
  const bool deals_pieces = sizes.num_matrices > 1;
  if (deals_pieces && plan.row_cores > 1) {
    throw ConfigError(fmt::format("[{}] mcast_in0 false splits the rows of one matrix, but the weight is a stack of {}; set mcast_in0 true",
                                  op, sizes.num_matrices));
  }
  if (!deals_pieces && plan.col_cores * plan.cols_per_core < sizes.n) {
    throw ShapeError(
        fmt::format("[{}] the weight has {} outputs but the program config takes {} (per_core_N {} on {} cores); raise per_core_N", op,
                    sizes.n, plan.col_cores * plan.cols_per_core, plan.cols_per_core / kTile, plan.col_cores));
  }
  return plan;
}

MatmulProgramConfig resolve_program(const LinearConfig& cfg, const MatmulSizes& sizes, const DeviceDescription& device) {
  if (cfg.program_config) return *cfg.program_config;
  if (cfg.program_rule) return matmul_program(*cfg.program_rule, sizes);
  return matmul_program(matmul_program_rule(sizes.k, device), sizes);
}

std::string to_string(const MatmulPlan& plan) {
  return fmt::format("{} cores: {} x {}, each {} x {}, k block {}, slab {} x {}{}{}{}", plan.num_cores(), plan.row_cores, plan.col_cores,
                     plan.rows_per_core, plan.cols_per_core, plan.k_block, plan.row_block, plan.col_block,
                     plan.tile_rows > 0 ? fmt::format(", tiles from {} rows on", plan.tile_rows) : "", plan.activation ? ", " : "",
                     plan.activation ? enum_name(*plan.activation) : "");
}

}  // namespace meshseek

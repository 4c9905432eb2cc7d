#include "ops/validate.hpp"

#include <fmt/format.h>

#include <string>

#include "base/error.hpp"
#include "config/names.hpp"
#include "ops/memory.hpp"

namespace meshseek {
namespace {

constexpr std::int64_t kMaxCores = 4096;
/// A slab and a result block larger than this are mistakes.
constexpr std::int64_t kMaxSubblockTiles = 64;
constexpr std::int64_t kMaxLinks = 64;
constexpr std::int64_t kMaxTiles = std::int64_t{1} << 20;

/// A joined path without an allocation: configs are checked at every call.
class JoinedPath {
 public:
  JoinedPath(std::string_view path, std::string_view name) {
    text_.append(path);
    if (!path.empty()) text_.push_back('.');
    text_.append(name);
  }
  operator std::string_view() const { return {text_.data(), text_.size()}; }  // NOLINT(google-explicit-constructor)

 private:
  fmt::basic_memory_buffer<char, 256> text_;
};

[[noreturn]] void fail(std::string_view where, std::string_view field, const std::string& what) {
  throw ConfigError(fmt::format("[{}] {}", join_path(where, field), what));
}

void check_range(std::int64_t value, std::int64_t max, std::string_view where, std::string_view field) {
  if (value < 1 || value > max) fail(where, field, fmt::format("{} is out of range; expected 1 to {}", value, max));
}

void check_grid(CoreCoord grid, std::string_view where) {
  check_range(grid.x, kMaxCores, where, "compute_with_storage_grid_size.x");
  check_range(grid.y, kMaxCores, where, "compute_with_storage_grid_size.y");
  check_range(std::int64_t{grid.x} * grid.y, kMaxCores, where, "compute_with_storage_grid_size");
}

void check_last_dim(std::int64_t dim, std::string_view where, std::string_view field) {
  if (dim != -1) fail(where, field, fmt::format("{}; only the last dimension is supported: -1", dim));
}

void check_axis(std::optional<std::int64_t> cluster_axis, std::string_view where) {
  if (!cluster_axis || *cluster_axis == 0 || *cluster_axis == 1) return;
  fail(where, "cluster_axis",
       fmt::format("{} is no axis of a mesh; expected 0 (my column), 1 (my row), or unset (all devices)", *cluster_axis));
}

void check_wire_dtype(std::optional<DataType> dtype, std::string_view where) {
  if (!dtype || *dtype == DataType::float32 || *dtype == DataType::bfloat16 || *dtype == DataType::bfloat8_b) return;
  fail(where, "dtype", fmt::format("{} cannot be on the wire; expected float32, bfloat16 or bfloat8_b", to_string(*dtype)));
}

void check_not_negative(std::int64_t position, std::string_view where, std::string_view field) {
  if (position < 0) fail(where, field, fmt::format("{} is no position along an axis; expected 0 or more", position));
}

void check_not_above(std::int64_t value, std::int64_t limit, std::string_view where, std::string_view field, std::string_view of) {
  if (value > limit) fail(where, field, fmt::format("{} exceeds {} {}; it would have no effect beyond that", value, of, limit));
}

/// The fields that blocks have in common. \param k inputs of the weight, 0: not known
template <class Program>
void check_blocks(const Program& program, std::int64_t k, std::string_view where) {
  check_range(program.in0_block_w, kMaxTiles, where, "in0_block_w");
  if (program.tile_rows < 0)
    fail(where, "tile_rows", fmt::format("{} is negative; expected a number of rows, or 0: never", program.tile_rows));
  if (k > 0) check_not_above(program.in0_block_w, matmul_program_config::tiles(k), where, "in0_block_w", "the tiles of K,");
  if constexpr (requires { program.compute_with_storage_grid_size; }) {
    check_grid(program.compute_with_storage_grid_size, where);
    check_range(program.out_subblock_h, kMaxSubblockTiles, where, "out_subblock_h");
    check_range(program.out_subblock_w, kMaxSubblockTiles, where, "out_subblock_w");
  }
}

/// The plain cases need no path.
void validate_result(const MemoryConfig& memory_config, AllowedLayouts allowed, std::string_view where) {
  if (memory_config.memory_layout == TensorMemoryLayout::INTERLEAVED && !memory_config.shard_spec) return;
  validate(memory_config, allowed, JoinedPath(where, "memory_config"));
}

template <class Program>
void check_program(const Program& program, const LinearConfig& cfg, std::int64_t k, std::string_view where) {
  check_blocks(program, k, where);
  check_range(program.per_core_M, kMaxTiles, where, "per_core_M");
  check_range(program.per_core_N, kMaxTiles, where, "per_core_N");
  if constexpr (requires { program.out_subblock_h; }) {
    check_not_above(program.out_subblock_h, program.per_core_M, where, "out_subblock_h", "per_core_M");
    check_not_above(program.out_subblock_w, program.per_core_N, where, "out_subblock_w", "per_core_N");
  }
  const std::vector<std::int64_t>& shape = cfg.input_tensor_b.shape;
  if (shape.size() != 2) return;
  // What can be known before there are rows: the outputs must be covered.
  const std::int64_t n = shape[cfg.transpose_b ? 0 : 1];
  try {
    const MatmulPlan plan = make_matmul_plan(program, {.m = 0, .k = k, .n = n}, where);
    check_shards(cfg.memory_config, plan, where);
  } catch (const ShapeError& error) {
    throw ConfigError(error.what());
  }
}

}  // namespace

void validate(const ComputeKernelConfig& compute, std::string_view where) {
  if (!compute.fp32_dest_acc_en) fail(where, "fp32_dest_acc_en", "false; only true exists here: sums are float32");
}

void validate(const MemoryConfig& memory_config, AllowedLayouts allowed, std::string_view where) {
  const TensorMemoryLayout layout = memory_config.memory_layout;
  const bool fits = layout == TensorMemoryLayout::INTERLEAVED || (layout == TensorMemoryLayout::HEIGHT_SHARDED && allowed.height_sharded) ||
                    (layout == TensorMemoryLayout::WIDTH_SHARDED && allowed.width_sharded) ||
                    (layout == TensorMemoryLayout::BLOCK_SHARDED && allowed.block_sharded);
  if (!fits) {
    fail(where, "memory_layout",
         fmt::format("{} has no meaning for this operator; expected INTERLEAVED{}{}{}", enum_name(layout),
                     allowed.height_sharded ? ", HEIGHT_SHARDED" : "", allowed.width_sharded ? ", WIDTH_SHARDED" : "",
                     allowed.block_sharded ? ", BLOCK_SHARDED" : ""));
  }
  if (!memory_config.shard_spec) return;
  const ShardSpec& spec = *memory_config.shard_spec;
  const JoinedPath here(where, "shard_spec");
  if (layout == TensorMemoryLayout::INTERLEAVED)
    fail(where, "shard_spec", "INTERLEAVED has no shards; leave it out or choose a sharded memory_layout");
  if (spec.grid.empty()) fail(here, "grid", "is empty; expected at least one range of cores");
  for (const CoreRange& range : spec.grid) {
    const bool ordered = range.start.x >= 0 && range.start.y >= 0 && range.start.x <= range.end.x && range.start.y <= range.end.y &&
                         range.end.x < kMaxCores && range.end.y < kMaxCores;
    if (!ordered) {
      fail(here, "grid",
           fmt::format("the range ({}, {}) to ({}, {}) is none; expected 0 <= start <= end < {}", range.start.x, range.start.y, range.end.x,
                       range.end.y, kMaxCores));
    }
  }
  if (num_cores(spec.grid) > kMaxCores) fail(here, "grid", fmt::format("{} cores; expected at most {}", num_cores(spec.grid), kMaxCores));
  if (spec.shape.size() != 2 || spec.shape[0] == 0 || spec.shape[1] == 0)
    fail(here, "shape", "expected [height, width] of one shard, both at least 1");
  const bool is_block = layout == TensorMemoryLayout::BLOCK_SHARDED;
  if (is_block && spec.grid.size() != 1) fail(here, "grid", "BLOCK_SHARDED needs one rectangle of cores");
  if (!is_block && spec.orientation != ShardOrientation::ROW_MAJOR)
    fail(here, "orientation", "COL_MAJOR has a meaning for BLOCK_SHARDED only");
}

void validate(const LinearConfig& cfg, std::string_view where) {
  if (!cfg.compute_kernel_config.fp32_dest_acc_en) validate(cfg.compute_kernel_config, JoinedPath(where, "compute_kernel_config"));
  validate_result(cfg.memory_config, {.height_sharded = true, .width_sharded = true, .block_sharded = true}, where);
  const std::vector<std::int64_t>& shape = cfg.input_tensor_b.shape;
  const std::int64_t k = shape.size() < 2 ? 0 : shape[shape.size() - (cfg.transpose_b ? 1 : 2)];
  const Tensor& weight = cfg.input_tensor_b.tensor;  // loaded when the run config is made
  if (weight.has_storage() && cfg.compute_kernel_config.math_fidelity == MathFidelity::LoFi && !is_block_float(weight.dtype())) {
    fail(where, "compute_kernel_config.math_fidelity",
         fmt::format("LoFi needs a bfloat8_b or bfloat4_b weight but it is {}; set HiFi2", to_string(weight.dtype())));
  }
  if (cfg.program_config && cfg.program_rule) {
    fail(where, "program_rule", "has no effect beside program_config; set one of the two to null");
  }
  if (cfg.program_rule) {
    const JoinedPath here(where, "program_rule");
    check_blocks(*cfg.program_rule, 0, here);  // its blocks are upper limits
    if (cfg.program_rule->products_per_core < 1) fail(here, "products_per_core", "expected at least 1");
  }
  if (cfg.program_config) {
    const JoinedPath here(where, "program_config");
    std::visit([&](const auto& program) { check_program(program, cfg, k, here); }, *cfg.program_config);
  }
  const bool is_sharded = cfg.memory_config.memory_layout != TensorMemoryLayout::INTERLEAVED;
  if (is_sharded && !cfg.program_config) {
    fail(where, "memory_config.memory_layout",
         fmt::format("{} needs a program_config: the shards of a product are those of its program",
                     enum_name(cfg.memory_config.memory_layout)));
  }
  if (is_sharded && shape.size() > 2) {
    fail(where, "memory_config.memory_layout",
         "the pieces of a stack of matrices are dealt to the cores at run time; expected INTERLEAVED");
  }
}

void validate(const MulConfig& cfg, std::string_view where) {
  validate_result(cfg.memory_config, {.height_sharded = true, .width_sharded = true, .block_sharded = true}, where);
}

void validate(const BinaryConfig& cfg, std::string_view where) {
  validate_result(cfg.memory_config, {.height_sharded = true, .width_sharded = true, .block_sharded = true}, where);
}

// These compute whole rows: rows are all that their cores can share out.
void validate(const RmsNormConfig& cfg, std::string_view where) { validate_result(cfg.memory_config, {.height_sharded = true}, where); }

void validate(const EmbeddingConfig& cfg, std::string_view where) { validate_result(cfg.memory_config, {.height_sharded = true}, where); }

void validate(const MoeCombineConfig& cfg, std::string_view where) { validate_result(cfg.memory_config, {.height_sharded = true}, where); }

// These share out their work by what they find: heads, experts.
void validate(const FlashMlaConfig& cfg, std::string_view where) {
  if (!cfg.compute_kernel_config.fp32_dest_acc_en) validate(cfg.compute_kernel_config, JoinedPath(where, "compute_kernel_config"));
  if (cfg.compute_kernel_config.math_fidelity == MathFidelity::LoFi)
    fail(where, "compute_kernel_config.math_fidelity", "LoFi; attention has no int8 products, expected HiFi2 or HiFi4");
  validate_result(cfg.memory_config, {}, where);
}

void validate(const MoeDispatchConfig& cfg, std::string_view where) { validate_result(cfg.memory_config, {}, where); }

void validate(const RouterConfig& cfg, std::string_view where) {
  if (cfg.topk_method == TopkMethod::greedy && cfg.n_group != 1)
    fail(where, "n_group", fmt::format("{}; greedy has no groups, expected 1", cfg.n_group));
  if (cfg.n_group == 1 && cfg.topk_group != 1) fail(where, "topk_group", fmt::format("{} of one group; expected 1", cfg.topk_group));
  if (cfg.topk_method != TopkMethod::noaux_tc && cfg.e_score_correction_bias) {
    fail(where, "e_score_correction_bias", fmt::format("{} uses none; only noaux_tc does", enum_name(cfg.topk_method)));
  }
}

void validate(const TopKConfig& cfg, std::string_view where) {
  if (cfg.k < 1) fail(where, "k", fmt::format("{}; expected at least 1", cfg.k));
  check_last_dim(cfg.dim, where, "dim");
}

void validate(const ConcatConfig& cfg, std::string_view where) { check_last_dim(cfg.dim, where, "dim"); }

void validate(const ReshardConfig& cfg, std::string_view where) {
  validate_result(cfg.memory_config, {.height_sharded = true, .width_sharded = true, .block_sharded = true}, where);
}

void validate(const AllReduceConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  check_last_dim(cfg.dim, where, "dim");
  check_range(cfg.num_reduce_scatter_links, kMaxLinks, where, "num_reduce_scatter_links");
  check_range(cfg.num_all_gather_links, kMaxLinks, where, "num_all_gather_links");
  check_wire_dtype(cfg.dtype, where);
}

void validate(const AllGatherConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  check_range(cfg.num_links, kMaxLinks, where, "num_links");
  check_wire_dtype(cfg.dtype, where);
}

void validate(const ReduceScatterConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  check_range(cfg.num_links, kMaxLinks, where, "num_links");
  check_wire_dtype(cfg.dtype, where);
}

void validate(const AllToAllConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  if (cfg.in_dim == cfg.out_dim) fail(where, "out_dim", fmt::format("{} is in_dim as well; expected another dimension", cfg.out_dim));
  check_wire_dtype(cfg.dtype, where);
}

void validate(const AllToAllRowsConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  check_wire_dtype(cfg.dtype, where);
}

void validate(const BroadcastConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  check_not_negative(cfg.root, where, "root");
  check_range(cfg.num_links, kMaxLinks, where, "num_links");
  check_wire_dtype(cfg.dtype, where);
}

void validate(const SendConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  check_not_negative(cfg.to, where, "to");
  check_wire_dtype(cfg.dtype, where);
}

void validate(const RecvConfig& cfg, std::string_view where) {
  check_axis(cfg.cluster_axis, where);
  check_not_negative(cfg.from, where, "from");
}

void validate(const MeshPartitionConfig& cfg, std::string_view where) { check_axis(cfg.cluster_axis, where); }

}  // namespace meshseek

/// How a matrix product is cut up: TTNN's three matmul program configs, the rule that makes one from run-time sizes, and the helpers behind both.
///
/// Sizes are in tiles of 32. With x [M, K] times a weight of N outputs, a *core* is one share of the work; a device with fewer threads than cores gives
/// neighbouring cores to one thread. All of it is pure arithmetic: stage 2 uses it without operators. Source: ttnn.linear's program_config.
#pragma once
#include <algorithm>
#include <cstdint>
#include <variant>

#include "mesh/mesh_device.hpp"
#include "ops/common_config.hpp"

namespace meshseek {

inline constexpr std::string_view kTileRowsText =
    "from so many rows of one matrix on they are multiplied on tiles of the matrix unit, where the machine has one; 0: never";

/// All cores of the grid read the same rows of x and split the outputs (mcast_in0), or read the whole weight and split the rows.
/// Stacks of matrices (experts, heads) are cut into pieces of per_core_N columns, dealt to the cores in equal shares of the work.
struct MatmulMultiCoreReuseMultiCast1DProgramConfig {
  static constexpr std::string_view kType = "MatmulMultiCoreReuseMultiCast1DProgramConfig";

  CoreCoord compute_with_storage_grid_size = {1, 1};
  std::int64_t in0_block_w = 1;
  std::int64_t out_subblock_h = 1;
  std::int64_t out_subblock_w = 1;
  std::int64_t per_core_M = 1;
  std::int64_t per_core_N = 1;
  std::int64_t tile_rows = 0;
  std::optional<UnaryOpType> fused_activation = {};
  bool mcast_in0 = true;

  friend bool operator==(const MatmulMultiCoreReuseMultiCast1DProgramConfig&,
                         const MatmulMultiCoreReuseMultiCast1DProgramConfig&) = default;
  static constexpr auto fields() {
    using Self = MatmulMultiCoreReuseMultiCast1DProgramConfig;
    return std::tuple{field("compute_with_storage_grid_size", &Self::compute_with_storage_grid_size, "cores: x times y shares of the work"),
                      field("in0_block_w", &Self::in0_block_w, "tiles of K decoded and multiplied at once"),
                      field("out_subblock_h", &Self::out_subblock_h, "tiles of rows of x multiplied with one decoded slab at once"),
                      field("out_subblock_w", &Self::out_subblock_w, "tiles of outputs in one decoded slab"),
                      field("per_core_M", &Self::per_core_M, "tiles of rows of x for each core; mcast_in0: of all rows"),
                      field("per_core_N", &Self::per_core_N, "tiles of outputs for each core; without mcast_in0: of all outputs"),
                      field("tile_rows", &Self::tile_rows, kTileRowsText),
                      field("fused_activation", &Self::fused_activation, "applied to the result"),
                      field("mcast_in0", &Self::mcast_in0, "true: cores split the outputs; false: cores split the rows of x")};
  }
};

/// Columns of the grid split the outputs, rows of the grid split the rows of x. One matrix only.
struct MatmulMultiCoreReuseMultiCastProgramConfig {
  static constexpr std::string_view kType = "MatmulMultiCoreReuseMultiCastProgramConfig";

  CoreCoord compute_with_storage_grid_size = {1, 1};
  std::int64_t in0_block_w = 1;
  std::int64_t out_subblock_h = 1;
  std::int64_t out_subblock_w = 1;
  std::int64_t per_core_M = 1;
  std::int64_t per_core_N = 1;
  std::int64_t tile_rows = 0;
  bool transpose_mcast = false;
  std::optional<UnaryOpType> fused_activation = {};

  friend bool operator==(const MatmulMultiCoreReuseMultiCastProgramConfig&, const MatmulMultiCoreReuseMultiCastProgramConfig&) = default;
  static constexpr auto fields() {
    using Self = MatmulMultiCoreReuseMultiCastProgramConfig;
    return std::tuple{
        field("compute_with_storage_grid_size", &Self::compute_with_storage_grid_size, "cores: x splits the outputs, y the rows of x"),
        field("in0_block_w", &Self::in0_block_w, "tiles of K decoded and multiplied at once"),
        field("out_subblock_h", &Self::out_subblock_h, "tiles of rows of x multiplied with one decoded slab at once"),
        field("out_subblock_w", &Self::out_subblock_w, "tiles of outputs in one decoded slab"),
        field("per_core_M", &Self::per_core_M, "tiles of rows of x for each core"),
        field("per_core_N", &Self::per_core_N, "tiles of outputs for each core"),
        field("tile_rows", &Self::tile_rows, kTileRowsText),
        field("transpose_mcast", &Self::transpose_mcast, "the grid's y splits the outputs, x the rows of x"),
        field("fused_activation", &Self::fused_activation, "applied to the result")};
  }
};

/// Each core streams its own per_core_N tiles of outputs from memory; as many cores as the outputs need. One matrix, few rows: decode.
struct MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig {
  static constexpr std::string_view kType = "MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig";

  std::int64_t in0_block_w = 1;
  std::int64_t per_core_M = 1;
  std::int64_t per_core_N = 1;
  std::int64_t tile_rows = 0;
  std::optional<UnaryOpType> fused_activation = {};

  friend bool operator==(const MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig&,
                         const MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig&) = default;
  static constexpr auto fields() {
    using Self = MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig;
    return std::tuple{field("in0_block_w", &Self::in0_block_w, "tiles of K decoded and multiplied at once"),
                      field("per_core_M", &Self::per_core_M, "tiles that all rows of x fit in"),
                      field("per_core_N", &Self::per_core_N, "tiles of outputs for each core"),
                      field("tile_rows", &Self::tile_rows, kTileRowsText),
                      field("fused_activation", &Self::fused_activation, "applied to the result")};
  }
};

using MatmulProgramConfig = std::variant<MatmulMultiCoreReuseMultiCast1DProgramConfig, MatmulMultiCoreReuseMultiCastProgramConfig,
                                         MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig>;

/// Parameters of matmul_program(), for operators whose number of rows is known at run time only.
struct MatmulProgramRule {
  CoreCoord compute_with_storage_grid_size = {1, 1};
  std::int64_t in0_block_w = 1;
  std::int64_t out_subblock_h = 1;
  std::int64_t out_subblock_w = 1;
  std::int64_t products_per_core = 100'000;
  std::int64_t tile_rows = 0;

  friend bool operator==(const MatmulProgramRule&, const MatmulProgramRule&) = default;
  static constexpr auto fields() {
    using Self = MatmulProgramRule;
    return std::tuple{field("compute_with_storage_grid_size", &Self::compute_with_storage_grid_size, "cores there are: x times y"),
                      field("in0_block_w", &Self::in0_block_w, "of the program, at most"),
                      field("out_subblock_h", &Self::out_subblock_h, "of the program, at most"),
                      field("out_subblock_w", &Self::out_subblock_w, "of the program, at most"),
                      field("products_per_core", &Self::products_per_core,
                            "multiplications that make another core worth waking; decoding a weight counts as eight"),
                      field("tile_rows", &Self::tile_rows, "of the program")};
  }
};

/// Sizes of one product in elements: `num_matrices` > 1 for a stack, m then being the rows of all of them together.
struct MatmulSizes {
  std::int64_t m = 0;
  std::int64_t k = 0;
  std::int64_t n = 0;
  std::int64_t num_matrices = 1;
};

namespace matmul_program_config {

inline constexpr std::int64_t kTile = 32;
inline constexpr std::int64_t kDefaultL2Bytes = 1 << 20;  ///< when the description does not say

inline std::int64_t tiles(std::int64_t elements) { return std::max<std::int64_t>(1, (elements + kTile - 1) / kTile); }
inline std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Decoding a weight costs about as much as multiplying it with this many rows.
inline constexpr std::int64_t kDecodeRows = 8;

/// Cores of `available` that m rows times a k x n weight are worth.
inline std::int64_t worthwhile_cores(std::int64_t m, std::int64_t k, std::int64_t n, std::int64_t products_per_core,
                                     std::int64_t available) {
  const double products = static_cast<double>(m + kDecodeRows) * static_cast<double>(k) * static_cast<double>(n);
  const double worth = products / static_cast<double>(products_per_core);
  return worth >= static_cast<double>(available) ? available : std::max<std::int64_t>(1, static_cast<std::int64_t>(worth));
}

}  // namespace matmul_program_config

/// The largest divisor of `value` that is at most `limit`. Both at least 1.
inline std::int64_t largest_divisor(std::int64_t value, std::int64_t limit) {
  std::int64_t divisor = std::min(value, limit);
  while (value % divisor != 0) --divisor;
  return divisor;
}

/// The grid of at most `num_cores` cores that splits row_tiles (y) and col_tiles (x) evenly and has the most cores; among equals the one with the most
/// columns, because each row of cores decodes the weights again. Source: find_prefill_grid of TTNN's model helpers.
inline CoreCoord find_prefill_grid(std::int64_t row_tiles, std::int64_t col_tiles, std::int64_t num_cores) {
  CoreCoord best = {1, 1};
  for (std::int64_t y = 1; y <= std::min(row_tiles, num_cores); ++y) {
    if (row_tiles % y != 0) continue;
    const std::int64_t x = largest_divisor(col_tiles, num_cores / y);
    if (x * y > std::int64_t{best.x} * best.y) best = {static_cast<std::int32_t>(x), static_cast<std::int32_t>(y)};
  }
  return best;
}

/// As many cores in a row as divide the tiles of k (or of any dimension that is sharded over them) evenly, at most `num_cores`.
/// Source: dram_shard_core_grid_for_k of TTNN's model helpers.
inline CoreCoord dram_shard_core_grid_for_k(std::int64_t k, std::int64_t num_cores) {
  return {static_cast<std::int32_t>(largest_divisor(matmul_program_config::tiles(k), std::max<std::int64_t>(1, num_cores))), 1};
}

/// Tiles of K so that a slab of `out_subblock_w` tiles of decoded outputs (float32) fills at most half of the L2 cache; at least 1, at most all of K.
inline std::int64_t find_in0_block_w(std::int64_t k, std::int64_t out_subblock_w, const DeviceDescription& device) {
  using namespace matmul_program_config;
  const std::int64_t l2_bytes = device.l2_bytes > 0 ? device.l2_bytes : kDefaultL2Bytes;
  const std::int64_t tile_bytes = kTile * kTile * 4;
  return std::clamp<std::int64_t>(l2_bytes / 2 / (out_subblock_w * tile_bytes), 1, tiles(k));
}

/// The standard rule for weights with k inputs on a device.
inline MatmulProgramRule matmul_program_rule(std::int64_t k, const DeviceDescription& device) {
  MatmulProgramRule rule;
  rule.compute_with_storage_grid_size = {static_cast<std::int32_t>(std::max<std::int64_t>(1, device.num_cores)), 1};
  rule.in0_block_w = find_in0_block_w(k, rule.out_subblock_w, device);
  return rule;
}

/// The rule of prefill for products on tiles: slabs of 256 outputs, because each needs all packed rows once more, decoded to bf16 in half of the L2 cache; every
/// row goes through tiles, so that its bits do not depend on how many there are.
inline MatmulProgramRule tile_program_rule(std::int64_t k, const DeviceDescription& device) {
  using namespace matmul_program_config;
  constexpr std::int64_t kWidth = 8;
  constexpr std::int64_t kChunk = 16;  // K is cut at multiples of 512
  const std::int64_t l2_bytes = device.l2_bytes > 0 ? device.l2_bytes : kDefaultL2Bytes;
  const std::int64_t num_chunks = std::max<std::int64_t>(1, l2_bytes / 2 / (kWidth * kTile * kTile * 2) / kChunk);
  MatmulProgramRule rule = matmul_program_rule(k, device);
  rule.in0_block_w = std::min(tiles(k), num_chunks * kChunk);
  rule.out_subblock_w = kWidth;
  rule.tile_rows = 1;
  return rule;
}

/// The rule: few enough cores that each has products_per_core to do. They split the outputs (each then decodes its own weights, once); where there are too
/// few outputs for that, rows and outputs of a single matrix. The blocking of K does not depend on the number of rows, so that the sums do not either.
inline MatmulProgramConfig matmul_program(const MatmulProgramRule& rule, const MatmulSizes& sizes) {
  using namespace matmul_program_config;
  const std::int64_t available = std::int64_t{rule.compute_with_storage_grid_size.x} * rule.compute_with_storage_grid_size.y;
  const std::int64_t cores = worthwhile_cores(sizes.m, sizes.k, sizes.n, rule.products_per_core, available);
  const std::int64_t m_tiles = tiles(sizes.m);
  const std::int64_t n_tiles = tiles(sizes.n);
  const std::int64_t in0_block_w = std::min(rule.in0_block_w, tiles(sizes.k));
  const std::int64_t out_subblock_h = std::min(rule.out_subblock_h, m_tiles);
  if (n_tiles < cores && sizes.num_matrices == 1) {
    const CoreCoord grid = find_prefill_grid(m_tiles, n_tiles, cores);
    const std::int64_t per_core_M = divide_up(m_tiles, grid.y);
    const std::int64_t per_core_N = divide_up(n_tiles, grid.x);
    return MatmulMultiCoreReuseMultiCastProgramConfig{.compute_with_storage_grid_size = grid,
                                                      .in0_block_w = in0_block_w,
                                                      .out_subblock_h = std::min(out_subblock_h, per_core_M),
                                                      .out_subblock_w = std::min(rule.out_subblock_w, per_core_N),
                                                      .per_core_M = per_core_M,
                                                      .per_core_N = per_core_N,
                                                      .tile_rows = rule.tile_rows};
  }
  // A stack is cut finely: its matrices have unequal numbers of rows, and small pieces balance.
  const std::int64_t per_core_N = sizes.num_matrices > 1 ? std::min(rule.out_subblock_w, n_tiles) : divide_up(n_tiles, cores);
  return MatmulMultiCoreReuseMultiCast1DProgramConfig{.compute_with_storage_grid_size = {static_cast<std::int32_t>(cores), 1},
                                                      .in0_block_w = in0_block_w,
                                                      .out_subblock_h = out_subblock_h,
                                                      .out_subblock_w = std::min(rule.out_subblock_w, per_core_N),
                                                      .per_core_M = m_tiles,
                                                      .per_core_N = per_core_N,
                                                      .tile_rows = rule.tile_rows};
}

/// The static program of decode: at most 32 rows, each core streams its own outputs.
inline MatmulProgramConfig decode_matmul_program(std::int64_t k, std::int64_t n, const DeviceDescription& device) {
  using namespace matmul_program_config;
  const MatmulProgramRule rule = matmul_program_rule(k, device);
  const std::int64_t cores = worthwhile_cores(1, k, n, rule.products_per_core, std::max<std::int64_t>(1, device.num_cores));
  return MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig{
      .in0_block_w = rule.in0_block_w, .per_core_M = 1, .per_core_N = divide_up(tiles(n), cores)};
}

/// Cores that a program has for `n` outputs.
inline std::int64_t num_cores(const MatmulProgramConfig& program, std::int64_t n) {
  using namespace matmul_program_config;
  return std::visit(
      [n](const auto& chosen) -> std::int64_t {
        if constexpr (requires { chosen.compute_with_storage_grid_size; }) {
          return std::int64_t{chosen.compute_with_storage_grid_size.x} * chosen.compute_with_storage_grid_size.y;
        } else {
          return divide_up(tiles(n), chosen.per_core_N);
        }
      },
      program);
}

}  // namespace meshseek

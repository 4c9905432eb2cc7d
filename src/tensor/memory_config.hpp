/// Where a tensor lives: TTNN's MemoryConfig, shard specs included.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/field.hpp"

namespace meshseek {

enum class TensorMemoryLayout : std::uint16_t { INTERLEAVED = 0, HEIGHT_SHARDED = 2, WIDTH_SHARDED = 3, BLOCK_SHARDED = 4, ND_SHARDED = 5 };
constexpr auto enum_names(TensorMemoryLayout) {
  return std::array<std::pair<TensorMemoryLayout, std::string_view>, 4>{{{TensorMemoryLayout::INTERLEAVED, "INTERLEAVED"},
                                                                         {TensorMemoryLayout::HEIGHT_SHARDED, "HEIGHT_SHARDED"},
                                                                         {TensorMemoryLayout::WIDTH_SHARDED, "WIDTH_SHARDED"},
                                                                         {TensorMemoryLayout::BLOCK_SHARDED, "BLOCK_SHARDED"}}};
}

enum class BufferType : std::uint16_t { DRAM = 0, L1 = 1, SYSTEM_MEMORY = 2, L1_SMALL = 3, TRACE = 4 };
constexpr auto enum_names(BufferType) {
  return std::array<std::pair<BufferType, std::string_view>, 2>{{{BufferType::DRAM, "DRAM"}, {BufferType::L1, "L1"}}};
}

enum class ShardOrientation : std::uint8_t { ROW_MAJOR = 0, COL_MAJOR = 1 };
constexpr auto enum_names(ShardOrientation) {
  return std::array<std::pair<ShardOrientation, std::string_view>, 2>{
      {{ShardOrientation::ROW_MAJOR, "ROW_MAJOR"}, {ShardOrientation::COL_MAJOR, "COL_MAJOR"}}};
}

enum class ShardDistributionStrategy : std::uint8_t { ROUND_ROBIN_1D = 0, GRID_2D = 1, CONTIGUOUS_1D = 2 };

struct CoreCoord {
  std::int32_t x = 0;
  std::int32_t y = 0;
  friend bool operator==(const CoreCoord&, const CoreCoord&) = default;

  static constexpr auto fields() {
    return std::tuple{field("x", &CoreCoord::x, "column of the core grid"), field("y", &CoreCoord::y, "row of the core grid")};
  }
};

struct CoreRange {
  CoreCoord start = {};
  CoreCoord end = {};  ///< inclusive
  friend bool operator==(const CoreRange&, const CoreRange&) = default;

  static constexpr auto fields() {
    return std::tuple{field("start", &CoreRange::start, "first core"), field("end", &CoreRange::end, "last core, inclusive")};
  }
};

using CoreRangeSet = std::vector<CoreRange>;

struct ShardSpec {
  CoreRangeSet grid = {};
  std::vector<std::uint32_t> shape = {};  ///< [height, width] of one shard in elements
  ShardOrientation orientation = ShardOrientation::ROW_MAJOR;
  friend bool operator==(const ShardSpec&, const ShardSpec&) = default;

  static constexpr auto fields() {
    return std::tuple{
        field("grid", &ShardSpec::grid, "cores that own the shards, in this order"),
        field("shape", &ShardSpec::shape, "[height, width] of one shard in elements"),
        field("orientation", &ShardSpec::orientation,
              "BLOCK_SHARDED only: whether neighbours in a row of the tensor lie in a row (ROW_MAJOR) or a column of the grid")};
  }
};

struct NdShardSpec {
  std::vector<std::uint32_t> shard_shape = {};
  CoreRangeSet grid = {};
  ShardOrientation orientation = ShardOrientation::ROW_MAJOR;
  ShardDistributionStrategy shard_distribution_strategy = ShardDistributionStrategy::ROUND_ROBIN_1D;
  friend bool operator==(const NdShardSpec&, const NdShardSpec&) = default;
};

struct MemoryConfig {
  TensorMemoryLayout memory_layout = TensorMemoryLayout::INTERLEAVED;
  BufferType buffer_type = BufferType::DRAM;
  std::optional<ShardSpec> shard_spec = {};
  std::optional<NdShardSpec> nd_shard_spec = {};
  bool created_with_nd_shard_spec = false;
  friend bool operator==(const MemoryConfig&, const MemoryConfig&) = default;

  /// What operator configs may say; ND shards exist in tensor files only.
  static constexpr auto fields() {
    return std::tuple{field("memory_layout", &MemoryConfig::memory_layout,
                            "who computes what: INTERLEAVED (rows shared out evenly), HEIGHT_SHARDED (rows), WIDTH_SHARDED (columns) or "
                            "BLOCK_SHARDED (both) by core"),
                      field("buffer_type", &MemoryConfig::buffer_type,
                            "DRAM: main memory; L1: the device's arena of recycled blocks, as large as its L2 caches"),
                      field("shard_spec", &MemoryConfig::shard_spec,
                            "which core owns which piece; unset: even pieces, one for each core of the program or device")};
  }
};

/// TTNN's common memory configs.
inline const MemoryConfig DRAM_MEMORY_CONFIG = {};
inline const MemoryConfig L1_MEMORY_CONFIG = {.buffer_type = BufferType::L1};
inline const MemoryConfig L1_WIDTH_SHARDED_MEMORY_CONFIG = {.memory_layout = TensorMemoryLayout::WIDTH_SHARDED,
                                                            .buffer_type = BufferType::L1};
inline const MemoryConfig L1_HEIGHT_SHARDED_MEMORY_CONFIG = {.memory_layout = TensorMemoryLayout::HEIGHT_SHARDED,
                                                             .buffer_type = BufferType::L1};
inline const MemoryConfig L1_BLOCK_SHARDED_MEMORY_CONFIG = {.memory_layout = TensorMemoryLayout::BLOCK_SHARDED,
                                                            .buffer_type = BufferType::L1};

}  // namespace meshseek

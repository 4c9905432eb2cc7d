/// Where a tensor lives: TTNN's MemoryConfig, shard specs included.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace meshseek {

enum class TensorMemoryLayout : std::uint16_t { INTERLEAVED = 0, HEIGHT_SHARDED = 2, WIDTH_SHARDED = 3, BLOCK_SHARDED = 4, ND_SHARDED = 5 };
enum class BufferType : std::uint16_t { DRAM = 0, L1 = 1, SYSTEM_MEMORY = 2, L1_SMALL = 3, TRACE = 4 };
enum class ShardOrientation : std::uint8_t { ROW_MAJOR = 0, COL_MAJOR = 1 };
enum class ShardDistributionStrategy : std::uint8_t { ROUND_ROBIN_1D = 0, GRID_2D = 1, CONTIGUOUS_1D = 2 };

struct CoreCoord {
  std::int32_t x = 0;
  std::int32_t y = 0;
  friend bool operator==(const CoreCoord&, const CoreCoord&) = default;
};

struct CoreRange {
  CoreCoord start = {};
  CoreCoord end = {};  ///< inclusive
  friend bool operator==(const CoreRange&, const CoreRange&) = default;
};

using CoreRangeSet = std::vector<CoreRange>;

struct ShardSpec {
  CoreRangeSet grid = {};
  std::vector<std::uint32_t> shape = {};  ///< [height, width] of one shard in elements
  ShardOrientation orientation = ShardOrientation::ROW_MAJOR;
  friend bool operator==(const ShardSpec&, const ShardSpec&) = default;
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
};

}  // namespace meshseek

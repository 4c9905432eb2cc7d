/// What a memory config means here: where a result lies, and which core computes which piece of it.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "mesh/device.hpp"
#include "ops/matmul_plan.hpp"
#include "tensor/memory_config.hpp"

namespace meshseek {

/// An uninitialised result in main memory (DRAM) or in the device's arena (L1).
/// \throws Error when the arena has too little room left: how much is asked for, used and there
Tensor make_result(Shape shape, DataType dtype, const MemoryConfig& memory_config, Device& device, std::string_view op);

/// Uninitialised memory for `count` values while an operator runs, aligned to 64.
template <class T>
std::shared_ptr<T> make_scratch(std::size_t count, Device& device) {
  constexpr std::align_val_t kAlignment{64};
  const std::size_t bytes = count * sizeof(T);
  if (bytes >= DramPool::kSmallest) return std::static_pointer_cast<T>(device.dram().allocate(bytes));
  return {static_cast<T*>(::operator new(bytes, kAlignment)), [](T* data) { ::operator delete(data, kAlignment); }};
}

/// Pieces of a matrix of `rows` x `cols` values, one for each core.
struct ShardPlan {
  TensorMemoryLayout memory_layout = TensorMemoryLayout::INTERLEAVED;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_cores = 1;
  std::int64_t col_cores = 1;
  bool cores_by_column = false;  ///< core = col_core * row_cores + row_core
  std::int64_t rows_per_core = 0;
  std::int64_t cols_per_core = 0;
};

/// One core's rows and columns.
struct Piece {
  std::int64_t row_begin = 0;
  std::int64_t row_end = 0;
  std::int64_t col_begin = 0;
  std::int64_t col_end = 0;
};

/// \throws ShapeError when the shards do not cover the matrix
ShardPlan make_shard_plan(const MemoryConfig& memory_config, std::int64_t rows, std::int64_t cols, const Device& device,
                          std::string_view op);

/// Calls body(piece) for each core's piece that is not empty, neighbouring cores on one thread; INTERLEAVED: for even runs of rows, at least `grain` each.
void for_each_piece(const ShardPlan& plan, ThreadTeam& team, std::size_t grain, const std::function<void(const Piece&)>& body);

/// A sharded result of a matrix product lies where its cores computed it: the shards must be those of the program.
/// \throws ConfigError naming the field that differs
void check_shards(const MemoryConfig& memory_config, const MatmulPlan& plan, std::string_view op);

std::int64_t num_cores(const CoreRangeSet& grid);
/// "DRAM", "L1 WIDTH_SHARDED 4 cores [32, 512]"
std::string to_string(const MemoryConfig& memory_config);
/// "2 cores: 1 x 2, each 32 x 512"; INTERLEAVED: "rows over the threads".
std::string to_string(const ShardPlan& plan);

}  // namespace meshseek

/// What a memory config means here: where a result lies, and which core computes which piece of it.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "mesh/device.hpp"
#include "ops/matmul_plan.hpp"
#include "tensor/memory_config.hpp"

namespace meshseek {

/// An uninitialised result in main memory (DRAM) or in the device's arena (L1).
/// \throws Error when the arena has too little room left: how much is asked for, used and there
Tensor make_result(Shape shape, DataType dtype, const MemoryConfig& memory_config, Device& device, std::string_view op);

/// The same in recycled main memory, for small results that no config places.
Tensor make_result(Shape shape, DataType dtype, Device& device);

/// Uninitialised memory for `count` values while an operator runs, aligned to 64.
template <class T>
std::shared_ptr<T> make_scratch(std::size_t count, Device& device) {
  return std::static_pointer_cast<T>(device.dram().allocate(count * sizeof(T)));
}

/// Uninitialised int8 rows of so many values.
inline Int8Rows make_int8_rows(std::int64_t num_rows, std::int64_t cols, Device& device) {
  return {device.dram().allocate(Int8Rows::bytes_for(num_rows, cols)), num_rows, cols};
}

/// Scratch memory as a range. Not initialised.
template <class T>
class Scratch {
 public:
  Scratch(std::int64_t count, Device& device)
      : memory_(make_scratch<T>(static_cast<std::size_t>(count), device)), values_(memory_.get(), static_cast<std::size_t>(count)) {}

  T* data() const { return values_.data(); }
  std::size_t size() const { return values_.size(); }
  T& operator[](std::size_t idx) const { return values_[idx]; }
  T* begin() const { return values_.data(); }
  T* end() const { return values_.data() + values_.size(); }
  operator std::span<T>() const { return values_; }        // NOLINT(google-explicit-constructor): as std::vector
  operator std::span<const T>() const { return values_; }  // NOLINT(google-explicit-constructor)

 private:
  std::shared_ptr<T> memory_;
  std::span<T> values_;
};

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

/// A borrowed callable.
struct PieceBody {
  const void* object = nullptr;
  void (*call)(const void* object, const Piece& piece) = nullptr;
};
void for_each_piece(const ShardPlan& plan, ThreadTeam& team, std::size_t grain, PieceBody body);

/// Calls body(piece) for each core's piece that is not empty, neighbouring cores on one thread; INTERLEAVED: for even runs of rows, at least `grain` each.
template <class Body>
void for_each_piece(const ShardPlan& plan, ThreadTeam& team, std::size_t grain, const Body& body) {
  for_each_piece(plan, team, grain,
                 PieceBody{&body, [](const void* object, const Piece& piece) { (*static_cast<const Body*>(object))(piece); }});
}

/// A sharded result of a matrix product lies where its cores computed it: the shards must be those of the program.
/// \throws ConfigError naming the field that differs
void check_shards(const MemoryConfig& memory_config, const MatmulPlan& plan, std::string_view op);

std::int64_t num_cores(const CoreRangeSet& grid);
/// "DRAM", "L1 WIDTH_SHARDED 4 cores [32, 512]"
std::string to_string(const MemoryConfig& memory_config);
/// "2 cores: 1 x 2, each 32 x 512"; INTERLEAVED: "rows over the threads".
std::string to_string(const ShardPlan& plan);

}  // namespace meshseek

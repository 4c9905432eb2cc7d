/// What a device does right now, written by its own thread and read by whoever reports a failure.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>

namespace meshseek {

class Progress {
 public:
  /// \param op a literal
  void enter_operator(const char* op) {
    op_.store(op, std::memory_order_relaxed);
    num_operators_.fetch_add(1, std::memory_order_relaxed);
  }
  void enter_layer(std::int64_t layer_idx) { layer_idx_.store(layer_idx, std::memory_order_relaxed); }
  /// The device that is waited for; -1: none.
  void wait_for(std::int64_t rank) { awaited_.store(rank, std::memory_order_relaxed); }

  const char* op() const { return op_.load(std::memory_order_relaxed); }
  std::int64_t layer_idx() const { return layer_idx_.load(std::memory_order_relaxed); }
  std::int64_t awaited() const { return awaited_.load(std::memory_order_relaxed); }
  std::uint64_t num_operators() const { return num_operators_.load(std::memory_order_relaxed); }

 private:
  std::atomic<const char*> op_ = "start";
  std::atomic<std::int64_t> layer_idx_ = -1;
  std::atomic<std::int64_t> awaited_ = -1;
  std::atomic<std::uint64_t> num_operators_ = 0;
};

/// "all_reduce, layer 3"; without a layer "all_reduce".
std::string to_string(const Progress& progress);

}  // namespace meshseek

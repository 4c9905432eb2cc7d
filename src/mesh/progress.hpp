/// What a device does right now, written by its own thread and read by whoever reports a failure.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>

namespace meshseek {

class Progress {
 public:
  /// \param op a literal
  void enter_operator(const char* op) { enter(op, true); }
  /// What lies between passes (loading, waiting for work): nobody minds how long it takes. \param name a literal
  void enter_phase(const char* name) { enter(name, false); }
  void enter_layer(std::int64_t layer_idx) { layer_idx_.store(layer_idx, std::memory_order_relaxed); }
  /// The device that is waited for; -1: none.
  void wait_for(std::int64_t rank) { awaited_.store(rank, std::memory_order_relaxed); }

  /// Operator or phase.
  const char* op() const { return op_.load(std::memory_order_relaxed); }
  std::int64_t layer_idx() const { return layer_idx_.load(std::memory_order_relaxed); }
  std::int64_t awaited() const { return awaited_.load(std::memory_order_relaxed); }
  bool is_operator() const { return is_operator_.load(std::memory_order_relaxed); }
  /// Operators and phases that were entered so far: who has another number than before has not stood still.
  std::uint64_t num_steps() const { return num_steps_.load(std::memory_order_relaxed); }

 private:
  void enter(const char* op, bool is_operator) {
    op_.store(op, std::memory_order_relaxed);
    is_operator_.store(is_operator, std::memory_order_relaxed);
    num_steps_.store(num_steps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  std::atomic<const char*> op_ = "start";
  std::atomic<std::int64_t> layer_idx_ = -1;
  std::atomic<std::int64_t> awaited_ = -1;
  std::atomic<bool> is_operator_ = false;
  std::atomic<std::uint64_t> num_steps_ = 0;  ///< one thread writes it
};

/// "all_reduce, layer 3"; without a layer "all_reduce".
std::string to_string(const Progress& progress);

}  // namespace meshseek

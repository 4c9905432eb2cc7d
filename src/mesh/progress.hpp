/// What a device does right now, written by its own threads and read by whoever reports a failure.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace meshseek {

/// A count that many threads raise often and somebody reads now and then. Raising costs about a nanosecond: threads meet in few lines of the cache, and
/// where two do, one may lose its count. Who compares two totals sees all the same that something happened.
class MoveCount {
 public:
  void raise() {
    std::atomic<std::uint64_t>& value = stripes_[stripe_of_this_thread()].value;
    value.store(value.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  std::uint64_t total() const;

 private:
  static constexpr std::size_t kStripes = 16;
  static std::size_t stripe_of_this_thread();

  struct alignas(64) Stripe {
    std::atomic<std::uint64_t> value = 0;
  };
  std::array<Stripe, kStripes> stripes_ = {};
};

class Progress {
 public:
  /// preparation: loading, meeting the others; it takes the time that it takes. pass: an operator runs. pause: nothing to do before the next pass.
  enum class Activity : std::uint32_t { preparation, pass, pause };

  /// \param op a literal
  void enter_operator(const char* op) { enter(op, Activity::pass); }
  /// \param name a literal
  void enter_preparation(const char* name) { enter(name, Activity::preparation); }
  /// \param name a literal
  void enter_pause(const char* name) { enter(name, Activity::pause); }
  void enter_layer(std::int64_t layer_idx) { layer_idx_.store(layer_idx, std::memory_order_relaxed); }
  /// The device that is waited for; -1: none.
  void wait_for(std::int64_t rank) {
    awaited_.store(rank, std::memory_order_relaxed);
    moves_.raise();
  }
  /// A thread has taken the next piece of the operator's work: some milliseconds of it.
  void note_work() { moves_.raise(); }

  /// Operator, or what else it does.
  const char* op() const { return op_.load(std::memory_order_relaxed); }
  std::int64_t layer_idx() const { return layer_idx_.load(std::memory_order_relaxed); }
  std::int64_t awaited() const { return awaited_.load(std::memory_order_relaxed); }
  Activity activity() const { return activity_.load(std::memory_order_relaxed); }
  bool is_operator() const { return activity() == Activity::pass; }
  /// Raised by all of the above: who has another number than before has not stood still.
  std::uint64_t num_moves() const { return moves_.total(); }

 private:
  void enter(const char* op, Activity activity) {
    op_.store(op, std::memory_order_relaxed);
    activity_.store(activity, std::memory_order_relaxed);
    moves_.raise();
  }

  std::atomic<const char*> op_ = "start";
  std::atomic<std::int64_t> layer_idx_ = -1;
  std::atomic<std::int64_t> awaited_ = -1;
  std::atomic<Activity> activity_ = Activity::preparation;
  MoveCount moves_;
};

/// "all_reduce, layer 3"; without a layer "all_reduce".
std::string to_string(const Progress& progress);

}  // namespace meshseek

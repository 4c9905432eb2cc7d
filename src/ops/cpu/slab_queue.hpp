/// Pieces of work that threads share out among themselves.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace meshseek::cpu {

/// The slabs of one thread, which it takes from the front; whoever is done takes from the back of the others' ranges. Threads of equal work are never done at
/// the same time, because they share the way to memory unevenly.
class SlabQueue {
 public:
  void fill(std::uint32_t begin, std::uint32_t end) { range_.store(pack(begin, end), std::memory_order_relaxed); }
  /// \return the index of a slab; nothing when the queue is empty
  std::optional<std::size_t> take_front() {
    return take([](std::uint32_t& begin, std::uint32_t&) { return begin++; });
  }
  std::optional<std::size_t> take_back() {
    return take([](std::uint32_t&, std::uint32_t& end) { return --end; });
  }

 private:
  static std::uint64_t pack(std::uint32_t begin, std::uint32_t end) { return std::uint64_t{begin} << 32U | end; }

  template <class Choose>
  std::optional<std::size_t> take(const Choose& choose) {
    std::uint64_t range = range_.load(std::memory_order_relaxed);
    while (true) {
      auto begin = static_cast<std::uint32_t>(range >> 32U);
      auto end = static_cast<std::uint32_t>(range);
      if (begin >= end) return std::nullopt;
      const std::size_t chosen = choose(begin, end);
      if (range_.compare_exchange_weak(range, pack(begin, end), std::memory_order_relaxed)) return chosen;
    }
  }

  alignas(64) std::atomic<std::uint64_t> range_ = 0;  ///< begin and end: who writes it shares the line with nobody
};

}  // namespace meshseek::cpu

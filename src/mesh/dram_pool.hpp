/// Main memory of results and scratch, used again from operator to operator.
#pragma once
#include <cstddef>
#include <memory>
#include <memory_resource>

namespace meshseek {

/// Recycled blocks in huge pages. Fresh memory costs a page fault and a zeroing for each page, as long as many an operator takes. Thread-safe.
/// Large requests have pages of their own; small ones share them, in sizes of powers of two that are never given up, so that a step that asks for the same
/// as the one before allocates nothing.
class DramPool {
 public:
  static constexpr std::size_t kSmallest = std::size_t{1} << 20;  ///< of the large requests

  DramPool();

  /// A block of at least `bytes`, aligned to 64, of any content; it goes back to the pool with its last owner, which may outlive the pool.
  /// \throws std::bad_alloc
  std::shared_ptr<void> allocate(std::size_t bytes);

  /// The small blocks for containers (std::pmr) that live no longer than the pool; 1 MiB or more come from the heap.
  std::pmr::memory_resource& resource();

  std::size_t used() const;  ///< bytes of the large blocks that are handed out
  /// Bytes of the free large blocks: with those in use never more than a quarter above the most that were in use.
  std::size_t cached() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace meshseek

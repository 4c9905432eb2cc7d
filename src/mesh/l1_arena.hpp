/// The device's fast memory for activations: recycled blocks whose total size is that of its L2 caches.
#pragma once
#include <cstddef>
#include <memory>

namespace meshseek {

/// What TTNN calls L1. A block that was freed is handed out again while it is still in the cache, and costs no page fault. Thread-safe.
class L1Arena {
 public:
  explicit L1Arena(std::size_t capacity);

  /// A block of at least `bytes`, aligned to 64; it goes back to the arena with its last owner, which may outlive the arena.
  /// Null when the blocks in use leave too little room.
  std::shared_ptr<void> allocate(std::size_t bytes);

  /// At least this capacity from now on.
  void grow(std::size_t capacity);
  std::size_t capacity() const;
  std::size_t used() const;  ///< bytes of the blocks that are handed out
  std::size_t peak() const;  ///< the most there were

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace meshseek

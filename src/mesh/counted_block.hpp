/// A block of memory that has room for the reference count of its owners, so that handing it out allocates nothing.
#pragma once
#include <cstddef>
#include <memory>
#include <utility>

namespace meshseek {

inline constexpr std::size_t kBlockHeader = 128;  ///< bytes in front of what is handed out

/// Puts the count of a shared_ptr into the header of its block, and gives the block back when the last owner has gone.
/// `State` outlives its blocks: each of them owns it. It has give_back(void* block, std::size_t size).
template <class T, class State>
class CountedBlock {
 public:
  using value_type = T;

  CountedBlock(std::shared_ptr<State> state, void* block, std::size_t size) : state_(std::move(state)), block_(block), size_(size) {}
  template <class Other>
  CountedBlock(const CountedBlock<Other, State>& other) : state_(other.state_), block_(other.block_), size_(other.size_) {}

  T* allocate(std::size_t) {
    static_assert(sizeof(T) <= kBlockHeader);
    return static_cast<T*>(block_);
  }
  void deallocate(T*, std::size_t) noexcept { state_->give_back(block_, size_); }
  friend bool operator==(const CountedBlock& a, const CountedBlock& b) { return a.block_ == b.block_; }

 private:
  template <class Other, class OtherState>
  friend class CountedBlock;

  std::shared_ptr<State> state_;
  void* block_;
  std::size_t size_;
};

/// What lies behind the header of `block`. \param size of the block, told to give_back()
template <class State>
std::shared_ptr<void> share_block(std::shared_ptr<State> state, void* block, std::size_t size) {
  return {static_cast<std::byte*>(block) + kBlockHeader, [](void*) {}, CountedBlock<std::byte, State>(std::move(state), block, size)};
}

}  // namespace meshseek

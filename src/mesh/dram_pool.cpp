#include "mesh/dram_pool.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

#include "base/zeroed_memory.hpp"
#include "mesh/counted_block.hpp"

namespace meshseek {
namespace {

struct Block {
  std::shared_ptr<void> memory = {};
  std::size_t size = 0;
};

}  // namespace

struct DramPool::State : std::pmr::memory_resource {
  /// The smallest free block that fits and is not twice as large. Called with the lock held.
  Block take(std::size_t size) {
    auto best = free_blocks.end();
    for (auto block = free_blocks.begin(); block != free_blocks.end(); ++block) {
      if (block->size >= size && block->size <= 2 * size && (best == free_blocks.end() || block->size < best->size)) best = block;
    }
    if (best == free_blocks.end()) return {};
    Block block = std::move(*best);
    cached -= block.size;
    free_blocks.erase(best);
    return block;
  }

  void count(std::size_t size) {
    used += size;
    peak = std::max(peak, used);
  }

  void give_back(Block block) {
    std::deque<Block> dropped;  // unmapped after the lock
    const std::lock_guard lock(mutex);
    used -= block.size;
    cached += block.size;
    free_blocks.push_back(std::move(block));
    while (used + cached > peak + peak / 4) {
      cached -= free_blocks.front().size;
      dropped.push_back(std::move(free_blocks.front()));
      free_blocks.pop_front();
    }
  }

  /// A block of `size` bytes, a power of two, its header among them. Free ones are linked through their first bytes.
  void* take_small(std::size_t size) {
    const std::lock_guard lock(mutex);
    void*& first = small_blocks[static_cast<std::size_t>(std::countr_zero(size))];
    if (first != nullptr) {
      void* block = first;
      first = *static_cast<void**>(block);
      return block;
    }
    if (size > pages_left) {
      pages.push_back(map_zeroed(kHugePage));
      pages_left = kHugePage;
    }
    pages_left -= size;
    return static_cast<std::byte*>(pages.back().get()) + pages_left;
  }

  void give_back(void* block, std::size_t size) {
    const std::lock_guard lock(mutex);
    void*& first = small_blocks[static_cast<std::size_t>(std::countr_zero(size))];
    *static_cast<void**>(block) = first;
    first = block;
  }

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    if (bytes >= kSmallest) return std::pmr::new_delete_resource()->allocate(bytes, alignment);
    return take_small(small_size(bytes));
  }
  void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override {
    if (bytes >= kSmallest) return std::pmr::new_delete_resource()->deallocate(block, bytes, alignment);
    give_back(block, small_size(bytes));
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }

  /// Powers of two from a cache line on: blocks that are cut off one after the other are then all aligned to one.
  static std::size_t small_size(std::size_t bytes) { return std::max<std::size_t>(64, std::bit_ceil(bytes)); }

  mutable std::mutex mutex;
  std::array<void*, 24> small_blocks = {};   ///< the first free one of each power of two
  std::vector<std::shared_ptr<void>> pages;  ///< of the small blocks
  std::size_t pages_left = 0;                ///< bytes of the last of them that nobody had yet: its first ones
  std::size_t used = 0;
  std::size_t peak = 0;
  std::size_t cached = 0;
  std::deque<Block> free_blocks;  ///< the one that waits longest first
};

DramPool::DramPool() : state_(std::make_shared<State>()) {}

std::pmr::memory_resource& DramPool::resource() { return *state_; }

std::shared_ptr<void> DramPool::allocate(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 4) throw std::bad_alloc();
  if (bytes < kSmallest) {
    const std::size_t small = State::small_size(bytes + kBlockHeader);
    return share_block(state_, state_->take_small(small), small);
  }
  const std::size_t size = std::max<std::size_t>(1, (bytes + kHugePage - 1) / kHugePage) * kHugePage;
  Block block;
  {
    const std::lock_guard lock(state_->mutex);
    block = state_->take(size);
    if (block.memory != nullptr) state_->count(block.size);
  }
  if (block.memory == nullptr) {
    block = {map_zeroed(size), size};
    const std::lock_guard lock(state_->mutex);
    state_->count(size);
  }
  void* data = block.memory.get();
  return {data, [state = state_, block = std::move(block)](void*) { state->give_back(block); }};
}

std::size_t DramPool::used() const {
  const std::lock_guard lock(state_->mutex);
  return state_->used;
}

std::size_t DramPool::cached() const {
  const std::lock_guard lock(state_->mutex);
  return state_->cached;
}

}  // namespace meshseek

#include "mesh/dram_pool.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <mutex>
#include <new>

#include "base/zeroed_memory.hpp"

namespace meshseek {
namespace {

struct Block {
  std::shared_ptr<void> memory = {};
  std::size_t size = 0;
};

}  // namespace

struct DramPool::State {
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

  mutable std::mutex mutex;
  std::size_t used = 0;
  std::size_t peak = 0;
  std::size_t cached = 0;
  std::deque<Block> free_blocks;  ///< the one that waits longest first
};

DramPool::DramPool() : state_(std::make_shared<State>()) {}

std::shared_ptr<void> DramPool::allocate(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 4) throw std::bad_alloc();
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

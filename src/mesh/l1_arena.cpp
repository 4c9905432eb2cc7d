#include "mesh/l1_arena.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "mesh/counted_block.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kGranularity = 4096;
constexpr std::size_t kAlignment = 64;

struct Free {
  void operator()(void* block) const { std::free(block); }
};
struct FreeBlock {
  std::unique_ptr<void, Free> memory = {};
  std::size_t size = 0;  ///< without its header
};

std::size_t round_to_granularity(std::size_t bytes) {
  return std::max<std::size_t>(1, (bytes + kGranularity - 1) / kGranularity) * kGranularity;
}

}  // namespace

struct L1Arena::State {
  explicit State(std::size_t bytes) : capacity(bytes) {}

  /// The smallest free block of a fitting size, else a new one. Called with the lock held.
  void* take(std::size_t size, std::size_t& block_size) {
    auto best = free_blocks.end();
    for (auto block = free_blocks.begin(); block != free_blocks.end(); ++block) {
      if (block->size >= size && block->size <= 2 * size && (best == free_blocks.end() || block->size < best->size)) best = block;
    }
    if (best != free_blocks.end() && used + best->size <= capacity) {
      block_size = best->size;
      cached -= block_size;
      void* block = best->memory.release();
      std::swap(*best, free_blocks.back());
      free_blocks.pop_back();
      return block;
    }
    // Blocks of other sizes make room.
    while (!free_blocks.empty() && used + cached + size > capacity) {
      cached -= free_blocks.back().size;
      free_blocks.pop_back();
    }
    block_size = size;
    return std::aligned_alloc(kAlignment, kBlockHeader + size);
  }

  void give_back(void* memory, std::size_t size) {
    FreeBlock block = {std::unique_ptr<void, Free>(memory), size};
    const std::lock_guard lock(mutex);
    used -= size;
    cached += size;
    free_blocks.push_back(std::move(block));
  }

  mutable std::mutex mutex;
  std::size_t capacity;
  std::size_t used = 0;
  std::size_t peak = 0;
  std::size_t cached = 0;              ///< bytes of the free blocks
  std::vector<FreeBlock> free_blocks;  ///< grows to the most there ever are
};

L1Arena::L1Arena(std::size_t capacity) : state_(std::make_shared<State>(capacity)) {}

std::shared_ptr<void> L1Arena::allocate(std::size_t bytes) {
  const std::size_t size = round_to_granularity(bytes);
  const std::lock_guard lock(state_->mutex);
  if (size > state_->capacity || state_->used > state_->capacity - size) return nullptr;
  std::size_t block_size = 0;
  void* block = state_->take(size, block_size);
  if (block == nullptr) throw std::bad_alloc();
  state_->used += block_size;
  state_->peak = std::max(state_->peak, state_->used);
  return share_block(state_, block, block_size);
}

void L1Arena::grow(std::size_t capacity) {
  const std::lock_guard lock(state_->mutex);
  state_->capacity = std::max(state_->capacity, capacity);
}

std::size_t L1Arena::capacity() const {
  const std::lock_guard lock(state_->mutex);
  return state_->capacity;
}

std::size_t L1Arena::used() const {
  const std::lock_guard lock(state_->mutex);
  return state_->used;
}

std::size_t L1Arena::peak() const {
  const std::lock_guard lock(state_->mutex);
  return state_->peak;
}

}  // namespace meshseek

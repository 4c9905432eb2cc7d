#include "mesh/l1_arena.hpp"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

namespace meshseek {
namespace {

constexpr std::size_t kGranularity = 4096;
constexpr std::size_t kAlignment = 64;

struct Free {
  void operator()(void* block) const { std::free(block); }
};
using Block = std::unique_ptr<void, Free>;

std::size_t round_to_granularity(std::size_t bytes) {
  return std::max<std::size_t>(1, (bytes + kGranularity - 1) / kGranularity) * kGranularity;
}

}  // namespace

struct L1Arena::State {
  explicit State(std::size_t bytes) : capacity(bytes) {}

  /// A free block of a fitting size, else a new one. Called with the lock held.
  Block take(std::size_t size, std::size_t& block_size) {
    const auto found = free_blocks.lower_bound(size);
    if (found != free_blocks.end() && found->first <= 2 * size && used + found->first <= capacity) {
      Block block = std::move(found->second);
      block_size = found->first;
      cached -= block_size;
      free_blocks.erase(found);
      return block;
    }
    // Blocks of other sizes make room.
    while (!free_blocks.empty() && used + cached + size > capacity) {
      cached -= free_blocks.begin()->first;
      free_blocks.erase(free_blocks.begin());
    }
    block_size = size;
    return Block(std::aligned_alloc(kAlignment, size));
  }

  void give_back(void* memory, std::size_t size) {
    Block block(memory);
    const std::lock_guard lock(mutex);
    used -= size;
    cached += size;
    free_blocks.emplace(size, std::move(block));
  }

  mutable std::mutex mutex;
  std::size_t capacity;
  std::size_t used = 0;
  std::size_t peak = 0;
  std::size_t cached = 0;  ///< bytes of the free blocks
  std::multimap<std::size_t, Block> free_blocks;
};

L1Arena::L1Arena(std::size_t capacity) : state_(std::make_shared<State>(capacity)) {}

std::shared_ptr<void> L1Arena::allocate(std::size_t bytes) {
  const std::size_t size = round_to_granularity(bytes);
  const std::lock_guard lock(state_->mutex);
  if (size > state_->capacity || state_->used > state_->capacity - size) return nullptr;
  std::size_t block_size = 0;
  Block block = state_->take(size, block_size);
  if (block == nullptr) throw std::bad_alloc();
  state_->used += block_size;
  state_->peak = std::max(state_->peak, state_->used);
  return {block.release(), [state = state_, block_size](void* memory) { state->give_back(memory, block_size); }};
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

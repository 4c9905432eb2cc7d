#include "mesh/dram_pool.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <thread>
#include <vector>

namespace meshseek {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

TEST(DramPool, HandsOutABlockAgainOnceItWasFreed) {
  DramPool pool;
  const void* first = pool.allocate(7 * kMiB).get();
  EXPECT_EQ(pool.allocate(6 * kMiB + 1).get(), first);
  EXPECT_EQ(pool.used(), 0U);
  EXPECT_EQ(pool.cached(), 8 * kMiB);
}

TEST(DramPool, SmallBlocksAreHandedOutAgainToo) {
  DramPool pool;
  const void* first = pool.allocate(3000).get();
  EXPECT_EQ(pool.allocate(2900).get(), first);
  EXPECT_NE(pool.allocate(100).get(), first);
}

TEST(DramPool, SmallBlocksOfAllSizesAreAlignedAndDoNotOverlap) {
  DramPool pool;
  struct Block {
    std::shared_ptr<void> memory;
    std::size_t size;
    char mark;
  };
  std::vector<Block> blocks;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t size = 0; size < kMiB; size = 2 * size + 1) {
      blocks.push_back({pool.allocate(size), size, static_cast<char>(blocks.size())});
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(blocks.back().memory.get()) % 64, 0U);
      std::fill_n(static_cast<char*>(blocks.back().memory.get()), size, blocks.back().mark);
    }
    blocks.resize(blocks.size() / 2);
  }
  for (const Block& block : blocks) {
    const char* bytes = static_cast<const char*>(block.memory.get());
    EXPECT_TRUE(std::all_of(bytes, bytes + block.size, [&](char byte) { return byte == block.mark; })) << block.size;
  }
}

TEST(DramPool, BlocksAreAlignedWritableAndDoNotOverlap) {
  DramPool pool;
  const auto a = pool.allocate(3 * kMiB);
  const auto b = pool.allocate(3 * kMiB);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.get()) % 64, 0U);
  std::fill_n(static_cast<char*>(a.get()), 3 * kMiB, 'a');
  std::fill_n(static_cast<char*>(b.get()), 3 * kMiB, 'b');
  EXPECT_EQ(static_cast<char*>(a.get())[3 * kMiB - 1], 'a');
  EXPECT_EQ(pool.used(), 8 * kMiB);
}

TEST(DramPool, TakesTheSmallestBlockThatFitsAndNoneTwiceAsLarge) {
  DramPool pool;
  auto large = pool.allocate(32 * kMiB);
  auto middle = pool.allocate(16 * kMiB);
  const void* middle_address = middle.get();
  const void* large_address = large.get();
  large.reset();
  middle.reset();
  const auto again = pool.allocate(15 * kMiB);
  EXPECT_EQ(again.get(), middle_address);
  EXPECT_NE(pool.allocate(2 * kMiB).get(), large_address);
}

TEST(DramPool, KeepsLittleMoreThanWasEverInUse) {
  DramPool pool;
  for (std::size_t size = 2; size <= 64; size += 2) pool.allocate(size * kMiB);
  EXPECT_LE(pool.cached(), 80 * kMiB);
  EXPECT_GE(pool.cached(), 64 * kMiB);
}

TEST(DramPool, RefusesWhatNoMachineHas) {
  DramPool pool;
  EXPECT_THROW(pool.allocate(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(pool.allocate(SIZE_MAX / 2), std::bad_alloc);
  EXPECT_EQ(pool.used(), 0U);
}

TEST(DramPool, ABlockMayOutliveItsPool) {
  auto pool = std::make_unique<DramPool>();
  std::shared_ptr<void> block = pool->allocate(kMiB);
  pool.reset();
  static_cast<char*>(block.get())[kMiB - 1] = 1;
  block.reset();
}

TEST(DramPool, MayBeUsedByManyThreads) {
  DramPool pool;
  {
    std::vector<std::jthread> threads;
    for (int thread_idx = 0; thread_idx < 4; ++thread_idx) {
      threads.emplace_back([&] {
        for (std::size_t round = 0; round < 200; ++round) {
          const auto block = pool.allocate(round % 5 * kMiB + 1);
          static_cast<char*>(block.get())[0] = 1;
        }
      });
    }
  }
  EXPECT_EQ(pool.used(), 0U);
}

}  // namespace
}  // namespace meshseek

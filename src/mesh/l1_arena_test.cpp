#include "mesh/l1_arena.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace meshseek {
namespace {

TEST(L1Arena, HandsOutABlockAgainOnceItWasFreed) {
  L1Arena arena(1 << 20);
  const void* first = arena.allocate(5000).get();
  EXPECT_EQ(arena.allocate(6000).get(), first);  // the same 8 KiB block
  EXPECT_EQ(arena.used(), 0U);
}

TEST(L1Arena, BlocksAreAlignedAndDoNotOverlap) {
  L1Arena arena(1 << 20);
  const auto a = arena.allocate(100);
  const auto b = arena.allocate(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.get()) % 64, 0U);
  const auto distance = static_cast<const std::byte*>(a.get()) - static_cast<const std::byte*>(b.get());
  EXPECT_GE(std::abs(distance), 100);
}

TEST(L1Arena, ReturnsNullBeyondItsCapacity) {
  L1Arena arena(16384);
  const auto half = arena.allocate(8192);
  EXPECT_EQ(arena.allocate(8193), nullptr);
  EXPECT_EQ(arena.allocate(SIZE_MAX - 8192), nullptr);
  EXPECT_NE(arena.allocate(8192), nullptr);
  EXPECT_EQ(arena.peak(), 16384U);
}

TEST(L1Arena, GrowsAndNeverShrinks) {
  L1Arena arena(8192);
  EXPECT_EQ(arena.allocate(16384), nullptr);
  arena.grow(16384);
  EXPECT_NE(arena.allocate(16384), nullptr);
  arena.grow(4096);
  EXPECT_EQ(arena.capacity(), 16384U);
}

TEST(L1Arena, FreeBlocksOfOtherSizesMakeRoom) {
  L1Arena arena(16384);
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t size : {4096U, 16384U, 8192U}) EXPECT_NE(arena.allocate(size), nullptr) << size;
  }
}

TEST(L1Arena, ABlockMayOutliveItsArena) {
  auto arena = std::make_unique<L1Arena>(1 << 16);
  std::shared_ptr<void> block = arena->allocate(4096);
  arena.reset();
  static_cast<char*>(block.get())[4095] = 1;
  block.reset();
}

TEST(L1Arena, MayBeUsedByManyThreads) {
  L1Arena arena(1 << 20);
  {
    std::vector<std::jthread> threads;
    for (int thread_idx = 0; thread_idx < 4; ++thread_idx) {
      threads.emplace_back([&] {
        for (std::size_t round = 0; round < 1000; ++round) {
          const auto block = arena.allocate(round % 5 * 4096 + 1);
          ASSERT_NE(block, nullptr);
          static_cast<char*>(block.get())[0] = 1;
        }
      });
    }
  }
  EXPECT_EQ(arena.used(), 0U);
}

}  // namespace
}  // namespace meshseek

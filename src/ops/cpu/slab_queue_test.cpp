#include "ops/cpu/slab_queue.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "base/thread_team.hpp"

namespace meshseek::cpu {
namespace {

TEST(SlabQueue, ItsOwnerTakesFromTheFrontAndOthersFromTheBack) {
  SlabQueue queue;
  EXPECT_FALSE(queue.take_front().has_value());
  queue.fill(3, 6);
  EXPECT_EQ(queue.take_front(), 3U);
  EXPECT_EQ(queue.take_back(), 5U);
  EXPECT_EQ(queue.take_front(), 4U);
  EXPECT_FALSE(queue.take_back().has_value());
  EXPECT_FALSE(queue.take_front().has_value());
}

TEST(SlabQueue, EachSlabIsTakenOnce) {
  constexpr std::uint32_t kSlabs = 20'000;
  SlabQueue queue;
  queue.fill(0, kSlabs);
  std::vector<std::atomic<int>> taken(kSlabs);
  ThreadTeam team(4);
  team.parallel_for(4, 1, [&](std::size_t begin, std::size_t) {
    while (const auto slab = begin == 0 ? queue.take_front() : queue.take_back()) ++taken[*slab];
  });
  for (const std::atomic<int>& times : taken) ASSERT_EQ(times, 1);
}

}  // namespace
}  // namespace meshseek::cpu

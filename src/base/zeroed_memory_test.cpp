#include "base/zeroed_memory.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <new>

namespace meshseek {
namespace {

TEST(ZeroedMemory, IsZeroAndWritableToItsLastByte) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4096}, std::size_t{4097}, kHugePage - 1, kHugePage, kHugePage + 1}) {
    const auto memory = map_zeroed(bytes);
    auto* data = static_cast<char*>(memory.get());
    EXPECT_EQ(data[0], 0);
    EXPECT_EQ(data[bytes - 1], 0);
    data[bytes - 1] = 1;
    data[0] = 1;
  }
}

TEST(ZeroedMemory, LargeBlocksBeginAtAHugePage) {
  for (int round = 0; round < 5; ++round) {
    const auto memory = map_zeroed(3 * kHugePage);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % kHugePage, 0U);
  }
}

TEST(ZeroedMemory, MoreThanIsThereIsABadAlloc) {
  EXPECT_THROW(map_zeroed(SIZE_MAX), std::bad_alloc);
  EXPECT_THROW(map_zeroed(SIZE_MAX / 4), std::bad_alloc);
}

}  // namespace
}  // namespace meshseek

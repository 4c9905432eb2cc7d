// Watchdogs of two ranks in one process: what they need of each other is TCP alone. Ranks that are processes: tests/mesh.
#include "mesh/watchdog.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>

namespace meshseek {
namespace {

using std::chrono::milliseconds;

struct TwoRanks {
  Progress first_progress;
  Progress second_progress;
  Watchdog first{2, first_progress};
  Watchdog second{1, 2, first.meeting_point(), second_progress};
};

TEST(Watchdog, RanksThatWorkAndLeaveAreNotDisturbed) {
  ::setenv("MESHSEEK_HANG_LIMIT_S", "1", 1);
  {
    TwoRanks ranks;
    ranks.second_progress.enter_operator("all_reduce");
    ranks.second_progress.wait_for(0);
    ranks.first_progress.enter_operator("linear");
    for (int piece = 0; piece < 30; ++piece) {
      ranks.first_progress.note_work();
      std::this_thread::sleep_for(milliseconds(100));
    }
  }
  ::unsetenv("MESHSEEK_HANG_LIMIT_S");
}

TEST(WatchdogDeathTest, ARankThatStaysInAnOperatorEndsBothWithOneLine) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto hang = [] {
    ::setenv("MESHSEEK_HANG_LIMIT_S", "1", 1);
    TwoRanks ranks;
    ranks.first_progress.enter_operator("all_reduce");
    ranks.first_progress.wait_for(1);
    ranks.second_progress.enter_layer(3);
    ranks.second_progress.enter_operator("linear");
    while (true) std::this_thread::sleep_for(milliseconds(100));
  };
  EXPECT_EXIT(
      hang(), ::testing::ExitedWithCode(1),
      "^meshseek: \\[mesh\\] rank 1 on host [^ ]+ is lost in linear, layer 3: it hangs [^\n]*; rank 0 waits for it in all_reduce\n$");
}

TEST(WatchdogDeathTest, AnErrorOfEitherRankEndsBothWithItsMessageAlone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(TwoRanks().first.fail("[linear] no room"), ::testing::ExitedWithCode(1), "^meshseek: \\[linear\\] no room\n$");
  EXPECT_EXIT(TwoRanks().second.fail("[linear] no room"), ::testing::ExitedWithCode(1), "^meshseek: \\[linear\\] no room\n$");
}

}  // namespace
}  // namespace meshseek

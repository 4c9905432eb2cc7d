#include "mesh/standstill.hpp"

#include <gtest/gtest.h>

namespace meshseek {
namespace {

using std::chrono::seconds;

constexpr seconds kLimit(20);

/// What a rank tells: in an operator or not, at which step, waiting for whom.
Beat beat_of(std::int32_t rank, std::uint64_t num_steps, std::int64_t awaited = -1, bool is_operator = true) {
  return {.rank = rank, .awaited = awaited, .num_steps = num_steps, .is_operator = is_operator ? 1U : 0U};
}

/// A judge to whom rank 1 waits for rank 0 in an operator, and `beats` are what rank 0 tells, one a second from second 0 on.
template <class BeatAt>
std::optional<Beat> found_after(seconds time, const BeatAt& beat_at) {
  StandstillJudge judge(kLimit);
  const StandstillJudge::Clock::time_point start = {};
  for (seconds now{0}; now <= time; ++now) {
    judge.note(beat_of(1, 7, 0), start + now);
    judge.note(beat_at(now.count()), start + now);
  }
  return judge.find(start + time);
}

TEST(Standstill, WhoStaysInOneOperatorWhileAnotherWaitsIsFoundAfterTheLimit) {
  const auto beat_at = [](auto) { return beat_of(0, 5); };
  EXPECT_FALSE(found_after(kLimit, beat_at));
  const std::optional<Beat> found = found_after(kLimit + seconds(1), beat_at);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->rank, 0);
}

TEST(Standstill, WhoseStepsGoOnIsNotFound) {
  EXPECT_FALSE(found_after(seconds(100), [](auto second) { return beat_of(0, static_cast<std::uint64_t>(second / 10)); }));
}

TEST(Standstill, PhasesBetweenPassesMayTakeAnyTime) {
  EXPECT_FALSE(found_after(seconds(100), [](auto) { return beat_of(0, 5, -1, false); }));
}

TEST(Standstill, WaitingForOthersIsNoStandstill) {
  EXPECT_FALSE(found_after(seconds(100), [](auto) { return beat_of(0, 5, 1); }));
  // Its time begins when what it waited for has come.
  EXPECT_FALSE(found_after(seconds(30), [](auto second) { return beat_of(0, 5, second < 20 ? 1 : -1); }));
  EXPECT_TRUE(found_after(seconds(41), [](auto second) { return beat_of(0, 5, second < 20 ? 1 : -1); }));
}

TEST(Standstill, NobodyIsFoundWhomNobodyWaitsForOrWithoutALimit) {
  const StandstillJudge::Clock::time_point start = {};
  for (const seconds limit : {seconds(0), kLimit}) {
    StandstillJudge judge(limit);
    const std::int64_t awaited = limit == seconds(0) ? 0 : 2;
    for (const seconds now : {seconds(0), seconds(100)}) {
      judge.note(beat_of(0, 5), start + now);
      judge.note(beat_of(1, 7, awaited), start + now);
    }
    EXPECT_FALSE(judge.find(start + seconds(100)));
  }
}

TEST(Standstill, ABreakOfTheJudgeIsForgiven) {
  StandstillJudge judge(kLimit);
  const StandstillJudge::Clock::time_point start = {};
  judge.note(beat_of(0, 5), start);
  judge.note(beat_of(1, 7, 0), start);
  judge.forgive(start + seconds(100));
  EXPECT_FALSE(judge.find(start + seconds(110)));
  EXPECT_TRUE(judge.find(start + seconds(121)));
}

}  // namespace
}  // namespace meshseek

#include "mesh/standstill.hpp"

#include <gmock/gmock.h>

#include <cstdlib>
#include <functional>

#include "base/error.hpp"

namespace meshseek {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Activity = Progress::Activity;

constexpr seconds kLimit(20);

/// What a rank tells: how often it has moved, whom it waits for, and what it does.
Beat beat_of(std::int32_t rank, std::int64_t num_moves, std::int64_t awaited = -1, Activity activity = Activity::pass,
             std::string_view op = "all_reduce", std::int64_t layer_idx = 3) {
  Beat beat = {
      .rank = rank, .layer_idx = layer_idx, .awaited = awaited, .num_moves = static_cast<std::uint64_t>(num_moves), .activity = activity};
  set_text(beat.op, op);
  set_text(beat.host, "a");
  return beat;
}

using BeatAt = std::function<Beat(std::int64_t second)>;
BeatAt always(const Beat& beat) {
  return [beat](std::int64_t) { return beat; };
}

/// What a judge says who hears the ranks once a second; empty: nothing.
std::string found_after(seconds time, const std::vector<BeatAt>& ranks, seconds limit = kLimit) {
  StandstillJudge judge(limit);
  const StandstillJudge::Clock::time_point start = {};
  for (seconds now{0}; now <= time; ++now) {
    for (const BeatAt& rank : ranks) judge.note(rank(now.count()), start + now);
  }
  return judge.find(start + time).value_or("");
}

/// The same for rank 0 while rank 1 waits for it in an operator.
std::string found_with_waiting(seconds time, const BeatAt& rank) { return found_after(time, {rank, always(beat_of(1, 7, 0))}); }

TEST(Standstill, WhoStaysInOneOperatorWhileAnotherWaitsIsFoundAfterTheLimit) {
  const BeatAt stays = always(beat_of(0, 5, -1, Activity::pass, "linear"));
  EXPECT_EQ(found_with_waiting(kLimit, stays), "");
  EXPECT_EQ(found_with_waiting(kLimit + seconds(1), stays),
            "[mesh] rank 0 on host a is lost in linear, layer 3: it hangs (nothing has moved for 20 s; MESHSEEK_HANG_LIMIT_S allows more); "
            "rank 1 "
            "waits for it in all_reduce, layer 3");
}

TEST(Standstill, WhoTakesPiecesOfItsWorkOrGoesFromStepToStepIsNotFound) {
  EXPECT_EQ(found_with_waiting(seconds(100), [](auto second) { return beat_of(0, second / 10); }), "");
}

TEST(Standstill, PreparationsAndPausesMayTakeAnyTime) {
  EXPECT_EQ(found_with_waiting(seconds(100), always(beat_of(0, 5, -1, Activity::preparation, "loading"))), "");
  // Rank 0 waits for its user, the others for its next command.
  const BeatAt waits = always(beat_of(1, 7, 0, Activity::pause));
  EXPECT_EQ(found_after(seconds(100), {always(beat_of(0, 5, -1, Activity::pause)), waits, always(beat_of(2, 7, 0, Activity::pause))}), "");
}

TEST(Standstill, WhoWaitsForOneThatMovesIsNotFound) {
  const BeatAt works = [](auto second) { return beat_of(2, second / 10); };
  EXPECT_EQ(found_after(seconds(100), {always(beat_of(0, 5, 2)), always(beat_of(1, 5, 0)), works}), "");
  // Its own time begins when what it waited for has come.
  const BeatAt waits_at_first = [](auto second) { return second < 20 ? beat_of(0, 5, 2) : beat_of(0, 6); };
  EXPECT_EQ(found_after(seconds(30), {waits_at_first, always(beat_of(1, 7, 0)), works}), "");
  EXPECT_THAT(found_after(seconds(41), {waits_at_first, always(beat_of(1, 7, 0)), works}), HasSubstr("rank 0 on host a is lost"));
}

/// All ranks run the same long operator: one of them is the first to be done.
TEST(Standstill, WhoHasNotBeenWaitedForSinceTheLimitIsNotFound) {
  const std::vector<BeatAt> ranks = {always(beat_of(0, 5)), [](auto second) { return second < 90 ? beat_of(1, 5) : beat_of(1, 6, 0); }};
  EXPECT_EQ(found_after(seconds(110), ranks), "");
  EXPECT_THAT(found_after(seconds(111), ranks), HasSubstr("rank 0 on host a is lost"));
}

TEST(Standstill, RanksThatWaitForEachOtherAreFound) {
  const std::vector<BeatAt> pair = {always(beat_of(0, 5, 1)), always(beat_of(1, 7, 0, Activity::pass, "recv", 4))};
  EXPECT_EQ(found_after(kLimit, pair), "");
  EXPECT_EQ(found_after(kLimit + seconds(1), pair),
            "[mesh] rank 0 on host a is lost in all_reduce, layer 3: it waits for rank 1, which waits for rank 0 in recv, layer 4 (nothing "
            "has moved "
            "for 20 s; MESHSEEK_HANG_LIMIT_S allows more)");
}

TEST(Standstill, ACircleIsNamedWholeAndWhoWaitsForItFromOutsideIsNotBlamed) {
  const std::string found = found_after(seconds(30), {always(beat_of(0, 5, 2)), always(beat_of(1, 5, 3)), always(beat_of(2, 5, 1)),
                                                      always(beat_of(3, 5, 2, Activity::pass, "recv"))});
  EXPECT_THAT(found, AllOf(HasSubstr("rank 1 on host a is lost"),
                           HasSubstr("it waits for rank 3, which waits for rank 2 in recv, layer 3, which waits "
                                     "for rank 1 in all_reduce, layer 3 (")));
}

TEST(Standstill, ACircleOfWhichOneMovesIsNotFound) {
  EXPECT_EQ(found_after(seconds(100), {always(beat_of(0, 5, 1)), [](auto second) { return beat_of(1, second / 10, 0); }}), "");
}

TEST(Standstill, WhoWaitsInAPassForOneThatHasDoneItsPartIsFound) {
  for (const std::string name : {"the pause between passes", "the end of the job"}) {
    const BeatAt done = always(beat_of(0, 5, -1, Activity::pause, name, -1));
    EXPECT_EQ(found_with_waiting(kLimit, done), "");
    EXPECT_THAT(
        found_with_waiting(kLimit + seconds(1), done),
        AllOf(HasSubstr("rank 1 on host a is lost in all_reduce, layer 3: it waits for rank 0, which has done its part and is in " + name),
              Not(HasSubstr("; rank"))));
  }
}

TEST(Standstill, NobodyIsFoundWhomNobodyWaitsForOrWithoutALimit) {
  EXPECT_EQ(found_after(seconds(100), {always(beat_of(0, 5)), always(beat_of(1, 7, 2))}), "");
  EXPECT_EQ(found_after(seconds(100), {always(beat_of(0, 5)), always(beat_of(1, 7, 0))}, seconds(0)), "");
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

TEST(Standstill, TheLimitLetsAJobEndWithin30SecondsAndTheEnvironmentChangesIt) {
  EXPECT_EQ(hang_limit(), seconds(20));
  ::setenv("MESHSEEK_HANG_LIMIT_S", "600", 1);
  EXPECT_EQ(hang_limit(), seconds(600));
  ::setenv("MESHSEEK_HANG_LIMIT_S", "soon", 1);
  EXPECT_THROW(hang_limit(), Error);
  ::unsetenv("MESHSEEK_HANG_LIMIT_S");
}

}  // namespace
}  // namespace meshseek

#include "base/thread_team.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace meshseek {
namespace {

using Piece = std::pair<std::size_t, std::size_t>;

constexpr std::array<std::size_t, 5> kTeamSizes = {1, 2, 3, 4, 9};
constexpr std::array<std::size_t, 8> kCounts = {1, 2, 3, 7, 8, 64, 1000, 1001};
constexpr std::array<std::size_t, 6> kGrains = {0, 1, 2, 7, 64, 5000};

/// The pieces of one parallel_for, in order of their begin.
std::vector<Piece> pieces_of(ThreadTeam& team, std::size_t count, std::size_t grain) {
  std::mutex mutex;
  std::vector<Piece> pieces;
  team.parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    const std::lock_guard lock(mutex);
    pieces.emplace_back(begin, end);
  });
  std::sort(pieces.begin(), pieces.end());
  return pieces;
}

/// Calls check(team size, count, grain, pieces) for every combination.
template <typename Check>
void for_each_plan(const Check& check) {
  for (const std::size_t size : kTeamSizes) {
    ThreadTeam team(size);
    for (const std::size_t count : kCounts) {
      for (const std::size_t grain : kGrains) {
        SCOPED_TRACE(testing::Message() << size << " threads, " << count << " items, grain " << grain);
        check(size, count, grain, pieces_of(team, count, grain));
      }
    }
  }
}

TEST(ThreadTeam, HasTheSizeThatWasAskedFor) {
  for (const std::size_t size : kTeamSizes) EXPECT_EQ(ThreadTeam(size).size(), size);
}

TEST(ThreadTeam, TakesOneThreadPerUsableCoreByDefault) {
  EXPECT_GE(ThreadTeam().size(), 1U);
  EXPECT_LE(ThreadTeam().size(), std::max(1U, std::thread::hardware_concurrency()));
}

TEST(ThreadTeam, CoversEveryIndexOnceWithPiecesThatAreNotEmpty) {
  for_each_plan([](std::size_t, std::size_t count, std::size_t, const std::vector<Piece>& pieces) {
    std::size_t next = 0;
    for (const auto& [begin, end] : pieces) {
      EXPECT_EQ(begin, next);
      EXPECT_LT(begin, end);
      next = end;
    }
    EXPECT_EQ(next, count);
  });
}

TEST(ThreadTeam, UsesAsManyMembersAsTheGrainIsWorth) {
  for_each_plan([](std::size_t size, std::size_t count, std::size_t grain, const std::vector<Piece>& pieces) {
    EXPECT_EQ(pieces.size(), std::clamp<std::size_t>(count / std::max<std::size_t>(1, grain), 1, size));
  });
}

TEST(ThreadTeam, GivesNoPieceSmallerThanTheGrainUnlessThereIsOnlyOne) {
  for_each_plan([](std::size_t, std::size_t, std::size_t grain, const std::vector<Piece>& pieces) {
    if (pieces.size() == 1) return;
    for (const auto& [begin, end] : pieces) EXPECT_GE(end - begin, grain);
  });
}

TEST(ThreadTeam, CutsTheSamePiecesEveryTime) {
  ThreadTeam team(4);
  const std::vector<Piece> first = pieces_of(team, 1001, 1);
  for (int round = 0; round < 100; ++round) EXPECT_EQ(pieces_of(team, 1001, 1), first);
}

TEST(ThreadTeam, NeverCallsTheBodyForAnEmptyRange) {
  ThreadTeam team(4);
  EXPECT_TRUE(pieces_of(team, 0, 1).empty());
  EXPECT_TRUE(pieces_of(team, 0, 0).empty());
}

TEST(ThreadTeam, RunsTheFirstPieceOnTheCallerAndTheOthersElsewhere) {
  ThreadTeam team(3);
  std::array<std::thread::id, 3> thread_of = {};
  team.parallel_for(3, 1, [&](std::size_t begin, std::size_t) { thread_of.at(begin) = std::this_thread::get_id(); });
  EXPECT_EQ(thread_of[0], std::this_thread::get_id());
  EXPECT_NE(thread_of[1], thread_of[0]);
  EXPECT_NE(thread_of[2], thread_of[0]);
  EXPECT_NE(thread_of[1], thread_of[2]);
}

TEST(ThreadTeam, ShowsTheCallerWhatEveryMemberWroteTenThousandTimes) {
  ThreadTeam team(4);
  std::vector<std::size_t> values(64);  // plain memory: only the team's own synchronisation orders the accesses
  for (std::size_t round = 1; round <= 10'000; ++round) {
    team.parallel_for(values.size(), 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t idx = begin; idx < end; ++idx) values[idx] += idx + round;
    });
    ASSERT_EQ(values.back(), 63 * round + round * (round + 1) / 2);
  }
  std::size_t sum = std::accumulate(values.begin(), values.end(), std::size_t{0});
  EXPECT_EQ(sum, (63 * 64 / 2) * 10'000UL + 64 * (10'000UL * 10'001UL / 2));
}

TEST(ThreadTeam, MixesWideAndNarrowLoops) {
  ThreadTeam team(4);
  for (std::size_t round = 0; round < 2'000; ++round) {
    const std::size_t count = round % 7;
    std::atomic<std::size_t> sum = 0;
    team.parallel_for(count, 1 + round % 3, [&](std::size_t begin, std::size_t end) {
      for (std::size_t idx = begin; idx < end; ++idx) sum += idx + 1;
    });
    ASSERT_EQ(sum, count * (count + 1) / 2);
  }
}

/// Throws from the piece that holds `bad_idx` of 64 on four threads.
void fail_at(ThreadTeam& team, std::size_t bad_idx) {
  team.parallel_for(64, 1, [&](std::size_t begin, std::size_t end) {
    if (begin <= bad_idx && bad_idx < end) throw ShapeError(fmt::format("[piece] {}", bad_idx));
  });
}

TEST(ThreadTeam, RethrowsAnExceptionOfAnyMemberWithItsTypeAndMessage) {
  ThreadTeam team(4);
  for (const std::size_t bad_idx : {std::size_t{0}, std::size_t{20}, std::size_t{63}}) {
    try {
      fail_at(team, bad_idx);
      FAIL() << "expected a ShapeError from piece " << bad_idx;
    } catch (const ShapeError& error) {
      EXPECT_EQ(error.what(), fmt::format("[piece] {}", bad_idx));
    }
  }
}

TEST(ThreadTeam, RethrowsTheExceptionOfATeamOfOne) {
  ThreadTeam team(1);
  EXPECT_THROW(fail_at(team, 5), ShapeError);
}

TEST(ThreadTeam, RunsTheOtherPiecesToTheirEndWhenOneThrows) {
  ThreadTeam team(4);
  std::atomic<std::size_t> num_done = 0;
  const auto body = [&](std::size_t begin, std::size_t end) {
    if (begin == 0) throw Error("[piece] the first");
    num_done += end - begin;
  };
  EXPECT_THROW(team.parallel_for(64, 1, body), Error);
  EXPECT_EQ(num_done, 48U);
}

TEST(ThreadTeam, ThrowsOnceWhenEveryMemberThrowsAndWorksAfterwards) {
  ThreadTeam team(4);
  for (int round = 0; round < 200; ++round) {
    EXPECT_THROW(team.parallel_for(64, 1, [](std::size_t, std::size_t) { throw Error("[piece] all"); }), Error);
    EXPECT_EQ(pieces_of(team, 64, 1).size(), 4U);
  }
}

TEST(ThreadTeam, JoinsItsThreadsWhenItGoesAtOnceOrAfterWork) {
  for (int round = 0; round < 300; ++round) {
    ThreadTeam idle(4);
    ThreadTeam busy(4);
    std::atomic<std::size_t> sum = 0;
    busy.parallel_for(4, 1, [&](std::size_t begin, std::size_t end) { sum += end - begin; });
    ASSERT_EQ(sum, 4U);
  }
}

TEST(ThreadTeam, LetsTeamsOfDifferentThreadsWorkSideBySide) {
  std::array<std::size_t, 3> sums = {};
  {
    std::vector<std::jthread> owners;
    owners.reserve(sums.size());
    for (std::size_t& sum : sums) {
      owners.emplace_back([&sum] {
        ThreadTeam team(3);
        std::atomic<std::size_t> total = 0;
        for (int round = 0; round < 500; ++round) {
          team.parallel_for(90, 1, [&](std::size_t begin, std::size_t end) { total += end - begin; });
        }
        sum = total;
      });
    }
  }
  EXPECT_THAT(sums, testing::Each(90U * 500U));
}

/// The CPU of each piece of one loop.
std::vector<int> cpus_used(ThreadTeam& team) {
  std::vector<int> cpus(team.size());
  team.parallel_for(team.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t idx = begin; idx < end; ++idx) cpus[idx] = ::sched_getcpu();
  });
  return cpus;
}

TEST(ThreadTeam, KeepsItsMembersOnTheirCpusAndGivesTheCallerBackAllOfThem) {
  const std::vector<int> before = usable_cpus();
  {
    ThreadTeam team(TeamPlace{.num_threads = 3, .cpus = {{before.back()}, {before.front()}, {before.back()}}});
    for (int round = 0; round < 20; ++round)
      EXPECT_THAT(cpus_used(team), testing::ElementsAre(before.back(), before.front(), before.back()));
    EXPECT_THAT(usable_cpus(), testing::ElementsAre(before.back()));
  }
  EXPECT_EQ(usable_cpus(), before);
}

TEST(ThreadTeam, RefusesCpusThatItMayNotUse) {
  const std::vector<int> before = usable_cpus();
  EXPECT_THROW(ThreadTeam(TeamPlace{.num_threads = 2, .cpus = {{before.front()}, {1022}}}), Error);
  EXPECT_THROW(ThreadTeam(TeamPlace{.num_threads = 2, .cpus = {{before.front()}}}), Error);
  EXPECT_EQ(usable_cpus(), before);
}

TEST(ThreadTeam, ManyCrowdedTeamsFinishTheirLoopsOnFewCores) {
  std::atomic<std::size_t> total = 0;
  {
    std::vector<std::jthread> owners;
    for (int owner = 0; owner < 8; ++owner) {
      owners.emplace_back([&] {
        ThreadTeam team(TeamPlace{.num_threads = 2, .is_crowded = true});
        for (int round = 0; round < 200; ++round)
          team.parallel_for(8, 1, [&](std::size_t begin, std::size_t end) { total += end - begin; });
      });
    }
  }
  EXPECT_EQ(total, 8U * 200U * 8U);
}

}  // namespace
}  // namespace meshseek

// A mesh of real processes: results, start-up checks, and what happens when a rank is killed, stopped, or meets an error.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/cpu_binding.hpp"
#include "base/host_name.hpp"
#include "tests/mesh/mpi_fixture.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(MpiTest, CollectivesOfProcessesGiveThePlainSums) {
  for (const auto& [num_ranks, mesh] : {std::pair{2, "1x2"}, std::pair{3, "3x1"}, std::pair{4, "2x2"}}) {
    const auto job = start(num_ranks, "collectives", mesh);
    EXPECT_EQ(job->wait(kRun), 0) << job->err();
    EXPECT_THAT(job->out(), HasSubstr("ok"));
  }
}

TEST_F(MpiTest, TheLauncherDoesNotChangeHowManyThreadsADeviceHas) {
  const auto job = start(2, "threads", "1x2");
  EXPECT_EQ(job->wait(kRun), 0) << job->err();
  EXPECT_THAT(job->out(), HasSubstr("ok, " + std::to_string(usable_cpus().size()) + " threads"));
}

TEST_F(MpiTest, AKilledRankEndsTheJobWithOneMessage) { expect_end_after(SIGKILL, 2, "it died"); }

TEST_F(MpiTest, AKilledRankZeroEndsTheJobWithOneMessage) { expect_end_after(SIGKILL, 0, "it died"); }

TEST_F(MpiTest, AStoppedRankEndsTheJobWithOneMessage) { expect_end_after(SIGSTOP, 1, "it hangs"); }

TEST_F(MpiTest, AStoppedRankZeroEndsTheJobWithOneMessage) { expect_end_after(SIGSTOP, 0, "it hangs"); }

/// The job ends within 30 s without any setting.
TEST_F(MpiTest, ARankWhoseOperatorNeverEndsEndsTheJobWithOneMessage) {
  const auto job = start(2, "loop", "1x2", 1);
  const std::vector<pid_t> pids = wait_for_ranks(2);
  EXPECT_GT(job->wait(kEnd), 0) << job->err();
  EXPECT_THAT(job->messages(),
              ElementsAre(AllOf(HasSubstr("rank 1 on host " + host_name() + " is lost in linear, layer "),
                                HasSubstr("it hangs (nothing has moved for 20 s"), HasSubstr("rank 0 waits for it in all_reduce"))));
  expect_gone(pids);
}

class MpiTestWithLimit : public MpiTest {
 protected:
  MpiTestWithLimit() { ::setenv("MESHSEEK_HANG_LIMIT_S", "3", 1); }
  ~MpiTestWithLimit() override { ::unsetenv("MESHSEEK_HANG_LIMIT_S"); }

  void expect_end(MpiJob& job, const ::testing::Matcher<std::string>& message) {
    EXPECT_GT(job.wait(kEnd), 0) << job.err();
    EXPECT_THAT(job.messages(), ElementsAre(message));
  }
};

TEST_F(MpiTestWithLimit, ARankZeroWhoseOperatorNeverEndsEndsTheJobWithOneMessage) {
  expect_end(*start(2, "loop", "1x2", 0), AllOf(HasSubstr("rank 0 on host " + host_name() + " is lost in linear, layer "),
                                                HasSubstr("rank 1 waits for it in all_reduce")));
}

TEST_F(MpiTestWithLimit, AnOperatorWhoseWorkMovesMayTakeLongerThanTheLimit) {
  const auto start_time = std::chrono::steady_clock::now();
  expect_end(*start(2, "work", "1x2", 1), HasSubstr("rank 1 on host " + host_name() + " is lost in linear, layer "));
  EXPECT_GT(std::chrono::steady_clock::now() - start_time, std::chrono::seconds(8 + 3));  // kLongWork of mesh_program, and the limit
}

TEST_F(MpiTestWithLimit, RanksThatWaitForEachOtherEndTheJobWithOneMessage) {
  expect_end(*start(3, "circle", "1x3"),
             AllOf(HasSubstr("rank 0 on host " + host_name() +
                             " is lost in recv, layer 2: it waits for rank 2, which waits for rank 1 in recv, layer 2, "
                             "which waits for rank 0 in recv, layer 2"),
                   HasSubstr("nothing has moved for 3 s")));
}

TEST_F(MpiTestWithLimit, ARankThatWaitsForOneThatHasLeftEndsTheJobWithOneMessage) {
  for (const int rank : {0, 1}) {
    expect_end(*start(2, "leave", "1x2", rank),
               AllOf(HasSubstr(fmt::format("rank {} on host {} is lost in all_reduce", 1 - rank, host_name())),
                     HasSubstr(fmt::format("it waits for rank {}, which has done its part and is in the end of the job", rank))));
  }
}

TEST_F(MpiTestWithLimit, APauseInWhichRanksWaitForTheNextCommandMayTakeAnyTime) {
  const auto job = start(3, "pause", "1x3");
  EXPECT_EQ(job->wait(kRun), 0) << job->err();
  EXPECT_THAT(job->out(), HasSubstr("ok"));
}

TEST_F(MpiTest, AnErrorOfOneRankEndsTheJobWithItsMessage) {
  for (const int rank : {0, 2}) {
    const auto job = start(3, "error", "1x3", rank);
    EXPECT_GT(job->wait(kRun), 0);
    EXPECT_THAT(job->messages(), ElementsAre(HasSubstr("rank " + std::to_string(rank) + " on host " + host_name() +
                                                       " failed in all_reduce, layer 0: [linear] the shapes do not fit")));
  }
}

TEST_F(MpiTest, OperatorsInAnotherOrderAreFound) {
  const auto job = start(2, "disorder", "1x2", 1);
  EXPECT_GT(job->wait(kRun), 0);
  EXPECT_THAT(job->messages(), ElementsAre(HasSubstr("all devices must run the same operators in the same order")));
}

TEST_F(MpiTest, RanksWithDifferentStoresRefuseToStart) {
  const auto job = start(3, "mismatch", "3x1", 1);
  EXPECT_GT(job->wait(kRun), 0);
  EXPECT_THAT(job->messages(),
              ElementsAre(AllOf(HasSubstr("rank 1 on host"), HasSubstr("has store=b, but rank 0 on host"), HasSubstr("has store=a"))));
}

TEST_F(MpiTest, AMeshOfAnotherSizeThanTheJobIsRefusedOnce) {
  const auto job = start(3, "collectives", "2x2");
  EXPECT_GT(job->wait(kRun), 0);
  EXPECT_THAT(job->messages(), ElementsAre(HasSubstr("[mpi] 3 ranks for the 4 devices of mesh 2x2; expected mpirun -n 4")));
}

}  // namespace
}  // namespace meshseek

// A mesh of real processes: results, start-up checks, and what happens when a rank is killed, stopped, or meets an error.
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

TEST_F(MpiTest, ARankWhoseOperatorNeverEndsEndsTheJobWithOneMessage) {
  for (const int rank : {0, 1}) {
    ::setenv("MESHSEEK_HANG_LIMIT_S", "3", 1);
    const auto job = start(2, "loop", "1x2", rank);
    ::unsetenv("MESHSEEK_HANG_LIMIT_S");
    EXPECT_GT(job->wait(kEnd), 0) << job->err();
    EXPECT_THAT(job->messages(),
                ElementsAre(AllOf(HasSubstr("rank " + std::to_string(rank) + " on host " + host_name()),
                                  HasSubstr("is lost in linear, layer "), HasSubstr("it hangs (in the same operator for 3 s"),
                                  HasSubstr("rank " + std::to_string(1 - rank) + " waits for it in all_reduce"))));
  }
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

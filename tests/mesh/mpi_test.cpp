// A mesh of real processes: results, start-up checks, and what happens when a rank is killed, stopped, or meets an error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/cpu_binding.hpp"
#include "base/host_name.hpp"
#include "tests/mesh/mpi_job.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// The job of the specification ends within 30 s; starting and a busy machine come on top.
constexpr std::chrono::seconds kEnd(30);
constexpr std::chrono::seconds kRun(180);

class MpiTest : public ::testing::Test {
 protected:
  std::unique_ptr<MpiJob> start(int num_ranks, const std::string& mode, const std::string& mesh, int rank = -1) {
    return std::make_unique<MpiJob>(
        folder_.path(), num_ranks,
        std::vector<std::string>{MESHSEEK_MESH_PROGRAM, mode, mesh, folder_.path().string(), std::to_string(rank)});
  }

  /// Process numbers of all ranks, when all have begun to work.
  std::vector<pid_t> wait_for_ranks(int num_ranks) {
    std::vector<pid_t> pids;
    const auto end = std::chrono::steady_clock::now() + kRun;
    while (static_cast<int>(pids.size()) < num_ranks && std::chrono::steady_clock::now() < end) {
      pid_t pid = 0;
      if (std::ifstream(folder_.path() / (std::to_string(pids.size()) + ".pid")) >> pid) {
        pids.push_back(pid);
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
    EXPECT_EQ(static_cast<int>(pids.size()), num_ranks) << "the ranks did not start";
    return pids;
  }

  /// No rank is left, not even a stopped one; the launcher is given a moment.
  static void expect_gone(const std::vector<pid_t>& pids) {
    for (const pid_t pid : pids) {
      for (int round = 0; round < 250 && ::kill(pid, 0) == 0; ++round) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      EXPECT_NE(::kill(pid, 0), 0) << "rank with process number " << pid << " is left";
    }
  }

  /// Sends a signal to a rank at work; the whole job must end with one message about it.
  void expect_end_after(int signal, int rank, const std::string& how) {
    constexpr int kRanks = 3;
    const auto job = start(kRanks, "layers", "1x3");
    const std::vector<pid_t> pids = wait_for_ranks(kRanks);
    ASSERT_EQ(pids.size(), kRanks) << job->err();
    ::kill(pids[static_cast<std::size_t>(rank)], signal);
    EXPECT_GT(job->wait(kEnd), 0) << job->err();
    EXPECT_THAT(job->messages(), ElementsAre(AllOf(HasSubstr("rank " + std::to_string(rank) + " on host " + host_name()),
                                                   HasSubstr("all_reduce, layer "), HasSubstr(how))));
    expect_gone(pids);
  }

  TemporaryFolder folder_;
};

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

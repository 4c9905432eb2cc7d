/// What tests of jobs under mpirun share.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/host_name.hpp"
#include "tests/mesh/mpi_job.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {

/// The job of the specification ends within 30 s; starting and a busy machine come on top.
inline constexpr std::chrono::seconds kEnd(30);
inline constexpr std::chrono::seconds kRun(180);

class MpiTest : public ::testing::Test {
 protected:
  /// Words before mpirun's own, its further flags, and the host of a rank.
  virtual std::vector<std::string> launcher() const { return {}; }
  virtual std::vector<std::string> flags() const { return {}; }
  virtual std::string host_of(int /*rank*/) const { return host_name(); }

  std::unique_ptr<MpiJob> start(int num_ranks, const std::string& mode, const std::string& mesh, int rank = -1) {
    const std::vector<std::string> command = {MESHSEEK_MESH_PROGRAM, mode, mesh, folder_.path().string(), std::to_string(rank)};
    return std::make_unique<MpiJob>(folder_.path(), num_ranks, command, launcher(), flags());
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
    EXPECT_THAT(job->messages(),
                ::testing::ElementsAre(::testing::AllOf(::testing::HasSubstr("rank " + std::to_string(rank) + " on host " + host_of(rank)),
                                                        ::testing::HasSubstr("all_reduce, layer "), ::testing::HasSubstr(how))));
    expect_gone(pids);
  }

  TemporaryFolder folder_;
};

}  // namespace meshseek

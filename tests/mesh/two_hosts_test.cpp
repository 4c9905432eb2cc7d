// A mesh over two hosts: two network namespaces with an address and a name each, joined by a pair of virtual interfaces. Needs root.
#include <cstdlib>

#include "tests/mesh/mpi_fixture.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TwoHosts : public MpiTest {
 protected:
  TwoHosts() {
    run(fmt::format("ip netns add {0} && ip netns add {1} && ip link add v{0} netns {0} type veth peer name v{1} netns {1}", one_, other_));
    for (const auto& [name, address] : {std::pair{one_, kOneAddress}, std::pair{other_, kOtherAddress}}) {
      run(fmt::format("ip -n {0} addr add {1}/24 dev v{0} && ip -n {0} link set lo up && ip -n {0} link set v{0} up", name, address));
    }
    // In place of ssh: AGENT HOST COMMAND..
    std::ofstream(agent()) << fmt::format("#!/bin/sh\nshift\nexec ip netns exec {0} unshare --uts sh -c \"hostname {0}; $*\"\n", other_);
    std::filesystem::permissions(agent(), std::filesystem::perms::owner_all);
  }
  ~TwoHosts() override {
    for (const std::string& name : {one_, other_})
      [[maybe_unused]] const int status = std::system(fmt::format("ip netns del {}", name).c_str());
  }

  std::vector<std::string> launcher() const override {
    return {"ip", "netns", "exec", one_, "unshare", "--uts", "sh", "-c", fmt::format("hostname {}; exec \"$@\"", one_), "sh"};
  }
  std::vector<std::string> flags() const override {
    constexpr const char* kNetwork = "10.77.0.0/24";
    return {"-H",
            fmt::format("{0}:{2},{1}:{2}", kOneAddress, kOtherAddress, ranks_of_a_host_),
            "--mca",
            "plm_rsh_agent",
            agent().string(),
            "--mca",
            "oob_tcp_if_include",
            kNetwork,
            "--mca",
            "btl_tcp_if_include",
            kNetwork};
  }
  std::string host_of(int rank) const override { return rank < ranks_of_a_host_ ? one_ : other_; }

  int ranks_of_a_host_ = 2;

 private:
  static constexpr const char* kOneAddress = "10.77.0.1";
  static constexpr const char* kOtherAddress = "10.77.0.2";

  static void run(const std::string& command) {
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed (this test needs root and iproute2): " + command);
  }
  std::filesystem::path agent() const { return folder_.path() / "agent"; }

  std::string one_ = fmt::format("ma{}", ::getpid());  // no longer than an interface's name may be
  std::string other_ = fmt::format("mb{}", ::getpid());
};

TEST_F(TwoHosts, CollectivesAcrossHostsGiveThePlainSums) {
  const auto job = start(4, "collectives", "2x2");
  EXPECT_EQ(job->wait(kRun), 0) << job->err();
  EXPECT_THAT(job->out(), HasSubstr("ok"));
}

/// Both "hosts" have all cores of this machine: configs are made for as many as a device has, not for its share of a mesh on one host.
TEST_F(TwoHosts, ADeviceThatIsAloneOnItsHostHasAllOfItsCores) {
  ranks_of_a_host_ = 1;
  ::setenv("MESHSEEK_CACHE", (folder_.path() / "cache").c_str(), 1);
  const std::vector<std::string> command = {
      MESHSEEK_PROGRAM, "run", MESHSEEK_SOURCE_DIR "/tests/data/checkpoints/v2lite-tiny", "--mesh", "1x2", "--ids", "1,2,3", "-n", "2",
      "--strict"};
  MpiJob job(folder_.path(), 2, command, launcher(), flags());
  EXPECT_EQ(job.wait(kRun), 0) << job.err();
  EXPECT_THAT(job.err(), Not(HasSubstr("was made for")));
  ::unsetenv("MESHSEEK_CACHE");
}

TEST_F(TwoHosts, PlanMeasuresTheLinkBetweenThem) {
  ranks_of_a_host_ = 1;
  const std::vector<std::string> command = {
      MESHSEEK_PROGRAM, "plan", MESHSEEK_SOURCE_DIR "/tests/data/checkpoints/v2lite-tiny", "--mesh", "1x2", "--threads", "1", "--json"};
  MpiJob job(folder_.path(), 2, command, launcher(), flags());
  EXPECT_EQ(job.wait(kRun), 0) << job.err();
  EXPECT_THAT(job.out(), HasSubstr("\"hosts\": 2"));
  for (const char* rate : {"link_gbit_s", "link_latency_us", "read_gb_s", "int8_top_s"})
    EXPECT_THAT(job.out(), ::testing::ContainsRegex(fmt::format("\"{}\": [0-9.]*[1-9]", rate)));
}

TEST_F(TwoHosts, AKilledRankOfTheOtherHostEndsTheJobWithOneMessage) { expect_end_after(SIGKILL, 2, "it died"); }

TEST_F(TwoHosts, AStoppedRankOfTheOtherHostEndsTheJobWithOneMessage) { expect_end_after(SIGSTOP, 2, "it hangs"); }

}  // namespace
}  // namespace meshseek

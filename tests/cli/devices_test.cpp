// What `inspect --devices` says of this machine.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

class Devices : public ProgramTest {};

TEST_F(Devices, ShowTheMachineAndThePlacesOfAMesh) {
  const Result result = run({"inspect", "--devices", "--mesh", "2x2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ::testing::StartsWith("machine: "));
  EXPECT_THAT(result.out, ::testing::HasSubstr("mesh 2x2, bind "));
  EXPECT_THAT(result.out, ::testing::HasSubstr("  device 3 (1, 1): "));
}

TEST_F(Devices, HaveOneCpuForEachThreadWhereCoresAreBound) {
  const Tree report = run({"inspect", "--devices", "--mesh", "1x2", "--bind", "cores", "--threads", "3", "--json"}).json();
  EXPECT_EQ(*report.find("bind"), Tree("cores"));
  EXPECT_EQ(*report.find("threads"), Tree(3));
  const Tree::Array& devices = report.find("devices")->as_array("devices");
  ASSERT_EQ(devices.size(), 2U);
  for (const Tree& device : devices) {
    const Tree::Array& threads = device.find("cpus")->as_array("cpus");
    ASSERT_EQ(threads.size(), 3U);
    for (const Tree& cpus : threads) EXPECT_EQ(cpus.as_array("cpus").size(), 1U);
    EXPECT_FALSE(device.find("nodes")->as_array("nodes").empty());
  }
}

TEST_F(Devices, AreBoundToNothingWhenThatIsAskedFor) {
  const Tree report = run({"inspect", "--devices", "--bind", "none", "--json"}).json();
  EXPECT_EQ(*report.find("mesh"), Tree("1x1"));
  EXPECT_TRUE(report.find("devices")->as_array("devices").front().find("cpus")->as_array("cpus").empty());
  EXPECT_FALSE(report.find("crowded")->as_bool("crowded"));
}

}  // namespace
}  // namespace meshseek::cli_test

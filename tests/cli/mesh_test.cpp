// `run --mesh`: the same text whatever the mesh, in one process and over MPI.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::HasSubstr;

class Mesh : public ProgramTest {
 protected:
  /// The greedy continuation as ids.
  std::string continuation(const std::string& name, const Arguments& more) {
    Arguments arguments = {"run", checkpoint(name).string(), "--ids", "1,2,3,4,5,6,7", "-n", "16", "--dtype", "float32", "--ignore-eos", "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
};

TEST_F(Mesh, EveryShapeGivesTheTextOfOneDevice) {
  for (const std::string name : {"v2lite-tiny", "v3-tiny"}) {
    const std::string alone = continuation(name, {});
    for (const std::string mesh : {"1x2", "2x1", "2x2", "1x3"}) EXPECT_EQ(continuation(name, {"--mesh", mesh}), alone) << name << " " << mesh;
  }
}

TEST_F(Mesh, MoreDevicesThanCoresFinish) { EXPECT_EQ(continuation("v2lite-tiny", {"--mesh", "4x2"}), continuation("v2lite-tiny", {})); }

TEST_F(Mesh, BoundDevicesGiveTheSameText) {
  const std::string alone = continuation("v2lite-tiny", {});
  for (const std::string bind : {"cores", "numa", "none"}) EXPECT_EQ(continuation("v2lite-tiny", {"--mesh", "1x2", "--bind", bind}), alone) << bind;
}

TEST_F(Mesh, ATraceHasATrackForEachDeviceWithItsCollectives) {
  const fs::path file = folder() / "trace.json";
  continuation("v2lite-tiny", {"--mesh", "1x2", "--trace-file", file.string()});
  const Tree document = parse_json(read_file(file), "trace");
  std::map<std::int64_t, int> operators;
  std::map<std::int64_t, int> collectives;
  for (const Tree& event : document.find("traceEvents")->as_array("traceEvents")) {
    if (event.find("ph")->as_string("ph") == "M") continue;
    const std::int64_t track = event.find("tid")->as_integer("tid");
    const bool is_collective = event.find("cat")->as_string("cat") == "collective";
    ++(is_collective ? collectives : operators)[track];
    if (!is_collective) continue;
    EXPECT_GE(event.find("args")->find("bytes_sent")->as_integer("bytes_sent"), 0);
  }
  ASSERT_EQ(operators.size(), 2U);
  ASSERT_EQ(collectives.size(), 2U);
  EXPECT_EQ(operators[0], operators[1]);
  EXPECT_EQ(collectives[0], collectives[1]);
}

TEST_F(Mesh, ADeviceThatCannotLoadEndsTheRunWithItsName) {
  const fs::path store = convert(checkpoint("v2lite-tiny"), "store", {"--mesh", "1x2", "--rank-local", "0-0"});
  expect_failure(run({"run", store.string(), "--ids", "1", "-n", "1"}), "[device 1 (0, 1) of mesh 1x2]");
}

TEST_F(Mesh, WhatShowsOneDeviceIsRefused) {
  const std::string model = checkpoint("v2lite-tiny").string();
  expect_failure(run({"logits", model, "--mesh", "1x2", "--ids", "1", "--cache", "-o", (folder() / "x").string()}), "expected a mesh of 1x1");
  expect_failure(run({"run", model, "--mesh", "1x2", "--ids", "1", "--capture", (folder() / "x").string()}), "[--capture]");
}

}  // namespace
}  // namespace meshseek::cli_test

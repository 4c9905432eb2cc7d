// `run --mesh`: the same text whatever the mesh, in one process and over MPI.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <map>

#include "tests/cli/program.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::HasSubstr;

class Mesh : public ProgramTest {
 protected:
  /// The greedy continuation as ids.
  std::string continuation(const std::string& name, const Arguments& more) {
    Arguments arguments = {
        "run", checkpoint(name).string(), "--ids", "1,2,3,4,5,6,7", "-n", "16", "--dtype", "float32", "--ignore-eos", "--threads", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
};

TEST_F(Mesh, EveryShapeGivesTheTextOfOneDevice) {
  for (const std::string name : {"v2lite-tiny", "v3-tiny"}) {
    const std::string alone = continuation(name, {});
    for (const std::string mesh : {"1x2", "2x1", "2x2", "1x3"})
      EXPECT_EQ(continuation(name, {"--mesh", mesh}), alone) << name << " " << mesh;
  }
}

TEST_F(Mesh, MoreDevicesThanCoresFinish) { EXPECT_EQ(continuation("v2lite-tiny", {"--mesh", "4x2"}), continuation("v2lite-tiny", {})); }

TEST_F(Mesh, BoundDevicesGiveTheSameText) {
  const std::string alone = continuation("v2lite-tiny", {});
  for (const std::string bind : {"cores", "numa", "none"})
    EXPECT_EQ(continuation("v2lite-tiny", {"--mesh", "1x2", "--bind", bind}), alone) << bind;
}

TEST_F(Mesh, DeterministicLogitsHaveTheSameBytesOnEveryMeshAndWithAnyNumberOfThreads) {
  const std::string model = checkpoint("v3-tiny").string();
  const auto logits = [&](const Arguments& more) {
    const std::string out = (folder() / "logits.safetensors").string();
    Arguments arguments = {"logits", model, "--ids", "1,2,3,4,5,6,7,8,9", "--hidden", "--router", "-o", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return read_file(out);
  };
  const Arguments standard = {"--mesh", "1x2", "--threads", "1"};
  const std::string alone = logits({"--deterministic", "--threads", "1"});
  for (const std::string mesh : {"1x1", "1x2", "2x2"})
    EXPECT_EQ(logits({"--deterministic", "--mesh", mesh, "--threads", "2"}), alone) << mesh;
  EXPECT_NE(logits(standard), alone);
  EXPECT_EQ(logits({"--deterministic", "--via", "chunks:4"}), alone);
}

TEST_F(Mesh, AStoreForDeterministicRunsIsRunSoAndAnotherOneIsRefused) {
  const fs::path model = checkpoint("v2lite-tiny");
  const Arguments prompt = {"--ids", "1,2,3", "-n", "4", "--threads", "1"};
  const auto run_store = [&](const fs::path& store, const Arguments& more) {
    Arguments arguments = {"run", store.string()};
    arguments.insert(arguments.end(), prompt.begin(), prompt.end());
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  const fs::path joined = convert(model, "joined", {"--mesh", "1x2", "--deterministic"});
  const Result alone = run_store(model, {"--deterministic"});
  EXPECT_EQ(run_store(joined, {}).out, alone.out);
  EXPECT_EQ(run_store(joined, {"--deterministic"}).out, alone.out);
  const fs::path summed = convert(model, "summed", {"--mesh", "1x2"});
  EXPECT_THAT(run_store(summed, {"--deterministic"}).err, HasSubstr("was converted for mesh 1x2 without --deterministic"));
  const std::string file = (folder() / "prefill.json").string();
  EXPECT_EQ(run({"configure", model.string(), "-o", file}).exit_code, 0);
  EXPECT_THAT(run_store(model, {"--deterministic", "--prefill-config", file}).err, HasSubstr("was configured without --deterministic"));
  std::string text = read_file(file);
  write("prefill.json", text.insert(text.find("\"device\""), "\"deterministic\": false,\n  "));
  EXPECT_THAT(run_store(model, {"--deterministic", "--prefill-config", file}).err, HasSubstr("was configured without --deterministic"));
}

double number(const Tree& tree, const char* key) { return tree.find(key)->as_number(key); }

TEST_F(Mesh, ATraceHasATrackForEachDeviceWithItsCollectives) {
  const fs::path file = folder() / "trace.json";
  continuation("v2lite-tiny", {"--mesh", "1x2", "--trace-file", file.string()});
  const Tree document = parse_json(read_file(file), "trace");
  std::map<std::int64_t, int> operators;
  std::map<std::int64_t, int> collectives;
  double most_waited = 0.0;
  for (const Tree& event : document.find("traceEvents")->as_array("traceEvents")) {
    if (event.find("ph")->as_string("ph") == "M") continue;
    const std::int64_t track = event.find("tid")->as_integer("tid");
    const bool is_collective = event.find("cat")->as_string("cat") == "collective";
    ++(is_collective ? collectives : operators)[track];
    if (!is_collective) continue;
    const Tree& arguments = *event.find("args");
    EXPECT_GE(number(arguments, "bytes_sent"), 0.0);
    EXPECT_LE(number(arguments, "waited_us"), number(event, "dur") + 0.002) << "it waits within the collective";
    most_waited = std::max(most_waited, number(arguments, "waited_us"));
  }
  EXPECT_GT(most_waited, 0.0);
  ASSERT_EQ(operators.size(), 2U);
  ASSERT_EQ(collectives.size(), 2U);
  EXPECT_EQ(operators[0], operators[1]);
  EXPECT_EQ(collectives[0], collectives[1]);
}

TEST_F(Mesh, ATraceHasTheSumsOfTheCollectivesOfEachLayer) {
  const fs::path file = folder() / "trace.json";
  continuation("v2lite-tiny", {"--mesh", "1x2", "--trace-file", file.string()});
  const Tree document = parse_json(read_file(file), "trace");
  std::map<std::pair<double, double>, std::array<double, 4>> sums;  // by device and layer: calls, us, waited_us, bytes_sent
  for (const Tree& event : document.find("traceEvents")->as_array("traceEvents")) {
    if (event.find("ph")->as_string("ph") == "M" || event.find("cat")->as_string("cat") != "collective") continue;
    const Tree& arguments = *event.find("args");
    std::array<double, 4>& sum = sums[{number(event, "tid"), number(arguments, "layer")}];
    sum[0] += 1.0;
    sum[1] += number(event, "dur");
    sum[2] += number(arguments, "waited_us");
    sum[3] += number(arguments, "bytes_sent");
  }
  const Tree::Array& layers = document.find("collectives_per_layer")->as_array("collectives_per_layer");
  ASSERT_EQ(layers.size(), sums.size());
  EXPECT_GE(layers.size(), 2U * 3) << "two devices, three layers";
  for (const Tree& layer : layers) {
    const std::array<double, 4>& sum = sums[{number(layer, "device"), number(layer, "layer")}];
    EXPECT_EQ(number(layer, "calls"), sum[0]);
    EXPECT_NEAR(number(layer, "us"), sum[1], 0.001 * sum[0]);
    EXPECT_NEAR(number(layer, "waited_us"), sum[2], 0.001 * sum[0]);
    EXPECT_EQ(number(layer, "bytes_sent"), sum[3]);
  }
}

TEST_F(Mesh, ADeviceThatCannotLoadEndsTheRunWithItsName) {
  const fs::path store = convert(checkpoint("v2lite-tiny"), "store", {"--mesh", "1x2", "--rank-local", "0-0"});
  expect_failure(run({"run", store.string(), "--ids", "1", "-n", "1"}), "[device 1 (0, 1) of mesh 1x2]");
}

/// Results of 8,000 tokens are more than fits into the L1 of any device; of which operator first, depends on its size.
TEST_F(Mesh, AnErrorInTheMiddleOfAPassNamesDeviceOperatorAndLayer) {
  std::string ids = "1";
  for (int idx = 0; idx < 8000; ++idx) ids += ",2";
  const Result result = run({"run", checkpoint("moonlight-tiny").string(), "--mesh", "1x2", "--threads", "1", "-n", "1", "--dtype",
                             "float32", "--ids", ids, "--set", "model.layers.1.**.memory_config.buffer_type=L1"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err,
              ::testing::ContainsRegex("\nmeshseek: \\[device [01] \\(0, [01]\\) of mesh 1x2 in [a-z_]+, layer 1\\] [^\n]*\n$"));
  EXPECT_THAT(result.err, HasSubstr("bytes of L1"));
}

TEST_F(Mesh, APipelineGivesTheTextOfOneDevice) {
  for (const std::string name : {"v2lite-tiny", "v3-tiny"}) {
    const std::string alone = continuation(name, {});
    for (const std::string mesh : {"2x1", "2x2", "4x1"})
      EXPECT_EQ(continuation(name, {"--mesh", mesh, "--plan", "pipeline"}), alone) << name << " " << mesh;
  }
}

TEST_F(Mesh, AStoreOfOneRowRunsAsAPipelineOfAnyNumberOfThem) {
  const fs::path model = checkpoint("v2lite-tiny");
  const fs::path store = convert(model, "store", {"--dtype", "float32", "--mesh", "2x2", "--plan", "pipeline"});
  const Arguments generate = {"run", store.string(), "--ids", "1,2,3,4,5,6,7", "-n", "16", "--ignore-eos", "--threads", "1"};
  const auto with = [&](const Arguments& more) {
    Arguments arguments = generate;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  const std::string alone = continuation("v2lite-tiny", {});
  EXPECT_EQ(with({}).out, alone);  // 1x2, which the store is for
  EXPECT_EQ(with({"--mesh", "3x2", "--plan", "pipeline"}).out, alone);
  expect_failure(with({"--mesh", "2x2"}), "is a store of mesh 1x2 but --mesh 2x2 was given");
  expect_failure(with({"--mesh", "2x1", "--plan", "pipeline"}), "--mesh 2x1 --plan pipeline (a store for 1x1) was given");
}

TEST_F(Mesh, ConfigsOfAPipelineSayAllThatARunNeedsToKnow) {
  const std::string model = checkpoint("v2lite-tiny").string();
  const fs::path store = convert(model, "store", {"--dtype", "float32"});
  Arguments arguments = {"run", store.string(), "--ids", "1,2,3,4,5,6,7", "-n", "16", "--ignore-eos", "--threads", "1"};
  for (const std::string mode : {"prefill", "decode"}) {
    const std::string file = (folder() / (mode + ".json")).string();
    const Result written =
        run({"configure", store.string(), "--mode", mode, "--mesh", "3x1", "--plan", "pipeline", "--threads", "1", "-o", file});
    ASSERT_EQ(written.exit_code, 0) << written.err;
    arguments.insert(arguments.end(), {"--" + mode + "-config", file});
  }
  const Result result = run(arguments);
  EXPECT_EQ(result.out, continuation("v2lite-tiny", {})) << result.err;
  arguments.insert(arguments.end(), {"--capture", (folder() / "x").string()});
  expect_failure(run(arguments), "[--capture] shows one device; expected a mesh of 1x1, not 3x1");
}

TEST_F(Mesh, LogitsOfAPipelineCarryWhatEveryRowDid) {
  const std::string model = checkpoint("v3-tiny").string();
  const auto arrays = [&](const std::string& name, const Arguments& more) {
    const fs::path file = folder() / name;
    Arguments arguments = {"logits",   model,      "--ids",     "1,2,3,4,5", "--dtype", "float32",
                           "--hidden", "--router", "--threads", "1",         "-o",      file.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return testing::Arrays(file);
  };
  const testing::Arrays alone = arrays("alone", {});
  const testing::Arrays rows = arrays("rows", {"--mesh", "3x1", "--plan", "pipeline"});
  for (const std::string name : {"logits", "hidden.0", "hidden.1", "hidden.2", "hidden.3", "router.2.weights"})
    EXPECT_LE(testing::difference(rows.floats(name), alone.floats(name)).max, 1e-4) << name;
  EXPECT_EQ(rows.integers("router.2.indices"), alone.integers("router.2.indices"));
  const std::string store = convert(model, "store").string();
  expect_failure(run({"logits", store, "--ids", "1,2,3", "--mtp", "--mesh", "2x1", "--plan", "pipeline", "-o", (folder() / "x").string()}),
                 "[mtp] multi-token prediction on a mesh of several rows is not supported");
}

TEST_F(Mesh, ExplainShowsWhichLayersARowHas) {
  const auto explained = [&](const std::string& path, const Arguments& more) {
    Arguments arguments = {"explain", checkpoint("v3-tiny").string(), path, "--mesh", "2x1", "--plan", "pipeline"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  EXPECT_THAT(explained("model.pipeline.send", {}), HasSubstr("cluster_axis"));
  EXPECT_THAT(explained("model.pipeline.layer_map", {}), HasSubstr("layer_map  [0,0,1]  default"));
  const std::string set = "model.pipeline.layer_map=[0,1,1]";
  EXPECT_THAT(explained("model.pipeline.layer_map", {"--set", set}), HasSubstr("layer_map  [0,1,1]  --set " + set));
}

TEST_F(Mesh, WhatShowsOneDeviceIsRefused) {
  const std::string model = checkpoint("v2lite-tiny").string();
  expect_failure(run({"logits", model, "--mesh", "1x2", "--ids", "1", "--cache", "-o", (folder() / "x").string()}),
                 "expected a mesh of 1x1");
  expect_failure(run({"run", model, "--mesh", "1x2", "--ids", "1", "--capture", (folder() / "x").string()}), "[--capture]");
  expect_usage_error(run({"tune", model, "--mode", "decode", "--mesh", "2x1", "--plan", "pipeline", "-o", (folder() / "x").string()}),
                     "[tune] the first row of a pipeline has not all kinds of layers");
}

}  // namespace
}  // namespace meshseek::cli_test

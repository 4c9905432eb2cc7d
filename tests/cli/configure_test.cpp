// `meshseek configure`: needs config.json only, writes the same bytes everywhere.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

class Configure : public ProgramTest {
 protected:
  void SetUp() override {
    fs::create_directories(folder() / "model");
    fs::copy_file(tiny_shakespeare() / "config.json", folder() / "model" / "config.json");
    model_ = (folder() / "model").string();
    device_ = write("device.json", R"({"num_cores": 8, "l2_bytes": 2097152, "isa": "avx512"})").string();
  }

  std::string model_;
  std::string device_;
};

TEST_F(Configure, WorksWithConfigJsonAlone) {
  for (const std::string mode : {"prefill", "decode"}) {
    const Result result = run({"configure", model_, "--mode", mode});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    EXPECT_EQ(result.json().find("mode")->as_string("mode"), mode);
    EXPECT_EQ(result.json().find("mesh")->as_string("mesh"), "1x1");
  }
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(Configure, IsByteIdenticalAfterReadingAndWriting) {
  for (const std::string mode : {"prefill", "decode"}) {
    const std::string text = run({"configure", model_, "--mode", mode, "--device", device_}).out;
    EXPECT_EQ(to_json(parse_json(text, "stdout")), text);
    EXPECT_EQ(run({"configure", model_, "--mode", mode, "--device", device_}).out, text);
  }
}

TEST_F(Configure, WritesTheSameToAFile) {
  const std::string file = (folder() / "out.json").string();
  const Result result = run({"configure", model_, "-o", file});
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(read_file(file), run({"configure", model_}).out);
}

TEST_F(Configure, RecordsTheDeviceDescription) {
  const Tree document = run({"configure", model_, "--device", device_}).json();
  EXPECT_EQ(*document.find("device"), parse_json(read_file(device_), "device"));
}

TEST_F(Configure, RefusesABadDeviceDescription) {
  const auto refuse = [&](const std::string& text, std::string_view part) {
    expect_failure(run({"configure", model_, "--device", write("bad.json", text).string()}), part);
  };
  refuse(R"({"num_cores": 8})", "has 1 fields");
  refuse(R"({"num_cores": 8, "l2_bytes": 0, "isa": "avx512", "l3_bytes": 1})", "l3_bytes");
  refuse(R"({"num_cores": 0, "l2_bytes": 0, "isa": "avx512"})", "num_cores 0");
  refuse(R"({"num_cores": 1, "l2_bytes": 0, "isa": "sse"})", "sse");
  refuse(R"([1])", "bad.json");
  expect_failure(run({"configure", model_, "--device", (folder() / "none.json").string()}), "none.json");
}

TEST_F(Configure, AppliesOverlaysThenAssignments) {
  const std::string overlay = write("overlay.json", R"({"model": {"layers": {"0-5": {"mla": {"wo": {"dtype": "float32"}}}}}})").string();
  const auto dtype_of_wo = [&](const Arguments& flags, const std::string& range) {
    Arguments arguments = {"configure", model_};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Tree document = run(arguments).json();
    const Tree* dtype = document.find("model")->find("layers")->find(range)->find("mla")->find("wo")->find("dtype");
    return dtype == nullptr ? "" : dtype->as_string("dtype");
  };
  EXPECT_EQ(dtype_of_wo({"--overlay", overlay}, "1-5"), "float32");
  EXPECT_EQ(dtype_of_wo({"--set", "model.layers.3.mla.wo.dtype=bfloat16", "--overlay", overlay}, "3"), "bfloat16");
  EXPECT_EQ(dtype_of_wo({"--set", "model.layers.3.mla.wo.dtype=bfloat16", "--overlay", overlay}, "4-5"), "float32");
}

TEST_F(Configure, AStoreGivesTheConfigOfItsDtype) {
  const fs::path store = convert(checkpoint("v3-tiny"), "store", {"--dtype", "float32"});
  const std::string from_store = run({"configure", store.string()}).out;
  EXPECT_EQ(from_store, run({"configure", checkpoint("v3-tiny").string(), "--dtype", "float32"}).out);
  EXPECT_NE(from_store, run({"configure", checkpoint("v3-tiny").string()}).out);
}

}  // namespace
}  // namespace meshseek::cli_test

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

class ConfigureDiff : public Configure {
 protected:
  std::string config(const std::string& name, const Arguments& flags = {}) {
    const std::string file = (folder() / name).string();
    Arguments arguments = {"configure", model_, "--device", device_, "-o", file};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    EXPECT_EQ(run(arguments).exit_code, 0);
    return file;
  }
};

TEST_F(ConfigureDiff, TwoFilesDifferPerFieldFoldedIntoRanges) {
  const std::string a = config("a.json");
  const std::string overlay = write("o.json", R"({"model": {"layers": {"0-5": {"mla": {"wo": {"dtype": "float32"}}}}}})").string();
  const std::string b = config("b.json", {"--overlay", overlay, "--set", "model.layers.2.mla.wo.dtype=null"});
  const Result result = run({"configure", "--diff", a, b});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(result.out, "model.layers.0-1.mla.wo.dtype: unset -> float32\nmodel.layers.3-5.mla.wo.dtype: unset -> float32\n");
}

TEST_F(ConfigureDiff, EqualFilesSaySo) {
  const std::string a = config("a.json");
  const Result result = run({"configure", "--diff", a, a});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "no differences\n");
}

TEST_F(ConfigureDiff, AFieldLeftOutHasItsDefault) {
  const std::string a = config("a.json");
  const std::string b = config("b.json");
  replace_in_file(b, "\"transpose_b\": true,", "");
  EXPECT_EQ(run({"configure", "--diff", a, b}).out, "no differences\n");
}

TEST_F(ConfigureDiff, AModelIsComparedWithAFileOfItsMode) {
  const std::string decode = config("decode.json", {"--mode", "decode", "--set", "model.lm_head.dtype=bfloat16"});
  const std::string difference = run({"configure", model_, "--device", device_, "--diff", decode}).out;
  EXPECT_THAT(difference, ::testing::MatchesRegex("model.lm_head.dtype: [a-z0-9]+ -> bfloat16\n"));
  EXPECT_EQ(run({"configure", model_, "--device", device_, "--set", "model.lm_head.dtype=bfloat16", "--diff", decode}).out,
            "no differences\n");
  EXPECT_THAT(run({"configure", model_, "--device", device_, "--mode", "prefill", "--diff", decode}).out,
              ::testing::StartsWith("mode: prefill -> decode\n"));
}

TEST_F(ConfigureDiff, AFileThatIsNoModelConfigIsNamed) {
  const std::string a = config("a.json");
  expect_failure(run({"configure", "--diff", a, write("b.json", "{}").string()}), "b.json");
  const std::string b = config("b.json");
  replace_in_file(b, "\"transpose_b\"", "\"transpose_c\"");
  expect_failure(run({"configure", "--diff", a, b}), "b.json");
  expect_failure(run({"configure", "--diff", a, (folder() / "none.json").string()}), "none.json");
}

TEST_F(ConfigureDiff, NeedsTwoThingsToCompare) {
  const std::string a = config("a.json");
  expect_usage_error(run({"configure", "--diff", a}), "--diff");
  expect_usage_error(run({"configure", model_, "--diff", a, a}), "--diff");
  expect_usage_error(run({"configure", "--diff", a, a, "--set", "model.lm_head.dtype=float32"}), "--diff");
  expect_usage_error(run({"configure"}), "MODEL is required");
}

}  // namespace
}  // namespace meshseek::cli_test

// `meshseek generate-checkpoint`, and that the other verbs take what it writes.
#include <gmock/gmock.h>

#include <csignal>
#include <thread>

#include "hf/generated_checkpoint.hpp"
#include "hf/published_models.hpp"
#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::HasSubstr;

/// The smallest published shape of one layer is a gigabyte: it is written to memory where there is room, else to the disk.
class LargeFolder {
 public:
  explicit LargeFolder(const fs::path& on_disk) {
    constexpr std::uintmax_t kNeeded = 2'000'000'000;
    std::error_code failed;
    const fs::space_info memory = fs::space("/dev/shm", failed);
    path_ = !failed && memory.available > kNeeded ? fs::path("/dev/shm") / on_disk.parent_path().filename() : on_disk;
    fs::remove_all(path_);
  }
  LargeFolder(const LargeFolder&) = delete;
  LargeFolder& operator=(const LargeFolder&) = delete;
  ~LargeFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class GenerateCheckpoint : public ProgramTest {
 protected:
  std::string out() const { return (folder() / "out").string(); }
};

TEST_F(GenerateCheckpoint, WritesTheFirstLayersOfAPublishedShape) {
  const LargeFolder large(folder() / "large");
  const Result result =
      run({"generate-checkpoint", "v2-lite", large.path().string(), "--num-layers", "1", "--fp8", "--seed", "7", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Tree report = result.json();
  EXPECT_EQ(report.find("out")->as_string("out"), large.path().string());
  const std::int64_t bytes = report.find("bytes")->as_integer("bytes");
  for (const char* name : {"seconds", "mb_per_s"}) EXPECT_GT(report.find(name)->as_number(name), 0.0) << name;

  Tree config = published_config("v2-lite");
  keep_first_layers(config, 1);
  set_fp8(config);
  EXPECT_EQ(parse_json(read_file(large.path() / "config.json"), "config.json"), config);
  const Tree index = parse_json(read_file(large.path() / "model.safetensors.index.json"), "index");
  EXPECT_EQ(index.find("metadata")->find("total_size")->as_integer("total_size"), bytes);
  const std::size_t num_tensors = index.find("weight_map")->as_object("weight_map").size();
  EXPECT_EQ(report.find("tensors")->as_integer("tensors"), static_cast<std::int64_t>(num_tensors));
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(large.path())) names.push_back(entry.path().filename().string());
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("config.json", "model.safetensors.index.json", "model-00001-of-00001.safetensors"));
  EXPECT_GT(fs::file_size(large.path() / "model-00001-of-00001.safetensors"), static_cast<std::uintmax_t>(bytes));
}

TEST_F(GenerateCheckpoint, CtrlCLeavesNothing) {
  const auto child = start({"generate-checkpoint", "v3", out(), "--num-layers", "1"});
  while (child->is_running() && !(fs::is_directory(out()) && !fs::is_empty(out())))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  child->send(SIGINT);
  const Result result = child->wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_FALSE(fs::exists(out()));
}

// The folder is not empty, so that nothing is written where a mistake goes unnoticed.
TEST_F(GenerateCheckpoint, AnUnknownNameListsTheKnownOnes) {
  expect_usage_error(run({"generate-checkpoint", "v4", folder().string()}),
                     "[NAME] \"v4\" is no published model; expected one of v2-lite, v2, v3, kimi-k2, moonlight");
}

TEST_F(GenerateCheckpoint, RefusesLayersThatTheModelDoesNotHaveAndSeedsThatAreNone) {
  const std::string out = write("note.txt", "mine").parent_path().string();
  expect_usage_error(run({"generate-checkpoint", "v2-lite", out, "--num-layers", "28"}), "[--num-layers] 28 layers; expected 1 to 27");
  expect_usage_error(run({"generate-checkpoint", "v2-lite", out, "--num-layers", "0"}), "--num-layers");
  expect_usage_error(run({"generate-checkpoint", "v2-lite", out, "--seed", "-1"}), "--seed");
  expect_usage_error(run({"generate-checkpoint", "v2-lite", out, "--seed", "one"}), "--seed");
}

TEST_F(GenerateCheckpoint, RefusesAFolderThatIsNotEmpty) {
  const fs::path note = write("note.txt", "mine");
  expect_failure(run({"generate-checkpoint", "v2-lite", folder().string(), "--num-layers", "1"}),
                 "is not empty; expected a new or empty folder");
  expect_failure(run({"generate-checkpoint", "v2-lite", note.string(), "--num-layers", "1"}), "is a file; expected a folder");
  EXPECT_EQ(read_file(note), "mine");
}

TEST_F(GenerateCheckpoint, TheOtherVerbsTakeWhatItWrites) {
  const Tree small = parse_json(R"({"vocab_size": 96, "hidden_size": 160, "intermediate_size": 192, "first_k_dense_replace": 1,
    "moe_intermediate_size": 96, "n_routed_experts": 16, "num_experts_per_tok": 4, "num_attention_heads": 2,
    "bos_token_id": 0, "eos_token_id": 1})",
                                "small");
  for (const std::string_view name : published_model_names()) {
    Tree config = published_config(name);
    keep_first_layers(config, 2);
    for (const auto& [field, value] : small.as_object("small")) config.set(field, value);
    for (const bool is_fp8 : {false, true}) {
      if (is_fp8) set_fp8(config);
      const fs::path model = folder() / (std::string(name) + (is_fp8 ? "-fp8" : ""));
      generate_checkpoint(config, model);
      const fs::path store = convert(model, model.filename().string() + "-store");
      const Result result = run({"logits", store.string(), "--ids", "1,2,3", "--positions", "last", "-o", (folder() / "logits").string()});
      EXPECT_EQ(result.exit_code, 0) << name << result.err;
      EXPECT_THAT(result.out, HasSubstr("logits [1, 96]")) << name;
    }
  }
}

}  // namespace
}  // namespace meshseek::cli_test

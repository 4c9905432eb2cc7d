// The program under a launcher: its results are those of one process, and whatever goes wrong is told in one line.
#include <gmock/gmock.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "tests/mesh/mpi_fixture.hpp"
#include "tests/support/changed_checkpoint.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Words = std::vector<std::string>;

class Launched : public MpiTest {
 protected:
  Launched() { ::setenv("MESHSEEK_CACHE", (folder_.path() / "cache").c_str(), 1); }
  ~Launched() override { ::unsetenv("MESHSEEK_CACHE"); }

  static std::string checkpoint() { return MESHSEEK_SOURCE_DIR "/tests/data/checkpoints/v2lite-tiny"; }
  static std::string shakespeare() { return MESHSEEK_SOURCE_DIR "/models/tiny-shakespeare"; }

  static Words command(const Words& arguments) {
    Words words = {MESHSEEK_PROGRAM};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return words;
  }
  std::unique_ptr<MpiJob> launch(int num_ranks, const Words& arguments) {
    return std::make_unique<MpiJob>(folder_.path(), num_ranks, command(arguments));
  }
  /// Two ranks with a command line each.
  std::unique_ptr<MpiJob> launch_two(const Words& first, const Words& second) {
    Words words = command(first);
    const Words others = {":", "-n", "1"};
    words.insert(words.end(), others.begin(), others.end());
    const Words last = command(second);
    words.insert(words.end(), last.begin(), last.end());
    return std::make_unique<MpiJob>(folder_.path(), 1, words);
  }
  /// What the program prints without a launcher.
  static std::string alone(const Words& arguments) {
    std::string line;
    for (const std::string& word : command(arguments)) line += "'" + word + "' ";
    FILE* pipe = ::popen((line + "2>/dev/null").c_str(), "r");
    std::string text;
    std::array<char, 4096> buffer = {};
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), count);
    EXPECT_EQ(::pclose(pipe), 0) << line;
    return text;
  }
  std::string file(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string bytes_of(const std::string& name) const {
    std::ostringstream bytes;
    bytes << std::ifstream(file(name), std::ios::binary).rdbuf();
    return bytes.str();
  }
  std::string store(const std::string& name, const std::string& source) {
    const std::string path = (folder_.path() / name).string();
    alone({"convert", source, path, "--mesh", "1x2"});
    return path;
  }
  /// A copy of the checkpoint whose last weight is another one.
  std::string changed_checkpoint() {
    const auto copy = folder_.path() / "changed";
    testing::copy_with_another_weight(checkpoint(), copy);
    return copy.string();
  }
  /// The job has ended in time with this exit code and one line that says why, and left no process.
  void expect_one_line(MpiJob& job, int exit_code, const ::testing::Matcher<std::string>& line) const {
    EXPECT_EQ(job.wait(kEnd), exit_code) << job.err();
    EXPECT_THAT(job.messages(), ElementsAre(line)) << job.err();
    EXPECT_EQ(job.out(), "");
    for (int round = 0; round < 250 && num_ranks_left() > 0; ++round) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(num_ranks_left(), 0);
  }
  /// Processes with this test's cache in their environment.
  int num_ranks_left() const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::ifstream file(entry.path() / "environ", std::ios::binary);
      std::ostringstream text;
      text << file.rdbuf();
      count += text.str().find((folder_.path() / "cache").string()) != std::string::npos ? 1 : 0;
    }
    return count;
  }
};

TEST_F(Launched, ScoreGivesTheFiguresOfOneProcess) {
  std::ofstream(folder_.path() / "text") << std::string(900, 'a') + "To be, or not to be, that is the question";
  const Words words = {"score", shakespeare(),  "--text", (folder_.path() / "text").string(), "--ctx", "64", "--mesh", "1x2", "--threads",
                       "1",     "--max-tokens", "200"};
  const auto job = launch(2, words);
  EXPECT_EQ(job->wait(kRun), 0) << job->err();
  EXPECT_THAT(job->out(), HasSubstr("perplexity "));
  EXPECT_EQ(job->out(), alone(words));
}

TEST_F(Launched, BenchMeasuresTheWholeMeshAndPrintsOnce) {
  const auto job = launch(2, {"bench", checkpoint(), "--mesh", "2x1", "--threads", "1", "--pp", "8", "--tg", "2", "--batch", "3", "--reps",
                              "1", "--calibration-size", "8", "--md"});
  EXPECT_EQ(job->wait(kRun), 0) << job->err();
  EXPECT_THAT(job->out(), AllOf(HasSubstr("| pp8 "), HasSubstr("| tg2 ")));
  EXPECT_EQ(job->out().find("| pp8 "), job->out().rfind("| pp8 "));
}

TEST_F(Launched, DeterministicLogitsHaveTheBytesOfOneProcess) {
  const auto words = [&](const std::string& mesh, const std::string& name) {
    return Words{"logits", checkpoint(), "--ids", "1,2,3,4,5,6,7", "--deterministic", "--threads", "1", "--mesh", mesh, "-o", file(name)};
  };
  alone(words("1x1", "alone"));
  const std::string expected = bytes_of("alone");
  ASSERT_FALSE(expected.empty());
  for (const std::string mesh : {"1x2", "2x1"}) {
    const auto job = launch(2, words(mesh, mesh));
    EXPECT_EQ(job->wait(kRun), 0) << job->err();
    EXPECT_EQ(bytes_of(mesh), expected) << mesh;
  }
}

TEST_F(Launched, ATraceHasATrackForEachRank) {
  const std::string trace = (folder_.path() / "trace.json").string();
  const auto job = launch(2, {"run", checkpoint(), "--mesh", "1x2", "--threads", "1", "--ids", "1,2,3", "-n", "2", "--trace-file", trace});
  EXPECT_EQ(job->wait(kRun), 0) << job->err();
  std::ostringstream text;
  text << std::ifstream(trace).rdbuf();
  for (const std::string part : {"device 0 (0, 0)", "device 1 (0, 1)", "\"device\":0,\"layer\":2,", "\"device\":1,\"layer\":2,"})
    EXPECT_THAT(text.str(), HasSubstr(part));
}

TEST_F(Launched, AMistakeInThePromptIsToldOnceWithTheExitCodeOfOneProcess) {
  const Words run = {"run", checkpoint(), "--mesh", "1x2", "--threads", "1", "--ids"};
  const auto with = [&](const std::string& ids) {
    Words words = run;
    words.push_back(ids);
    return words;
  };
  expect_one_line(*launch(2, with("1,999999")), 1, HasSubstr("meshseek: [prompt] token id 999999 at position 1"));
  expect_one_line(*launch(2, with("one")), 2, HasSubstr("meshseek: [--ids] \"one\" is no token id"));
}

TEST_F(Launched, WhatAllRanksSeeBeforeTheyMeetIsToldOnce) {
  expect_one_line(*launch(3, {"run", checkpoint(), "--mesh", "1x3", "--nonsense"}), 2, HasSubstr("--nonsense"));
  expect_one_line(*launch(3, {"run", "/nowhere", "--mesh", "1x3", "--ids", "1"}), 1, HasSubstr("[/nowhere] there is no such folder"));
  expect_one_line(*launch(2, {"inspect", shakespeare(), "--run-config"}), 1, HasSubstr("expected no launcher, or a verb that takes part"));
}

TEST_F(Launched, WhatOneRankAloneMissesIsToldWithItsHost) {
  const Words more = {"--mesh", "1x2", "--threads", "1", "--ids", "1", "-n", "1"};
  Words first = {"run", checkpoint()};
  Words second = {"run", "/nowhere"};
  first.insert(first.end(), more.begin(), more.end());
  second.insert(second.end(), more.begin(), more.end());
  expect_one_line(*launch_two(first, second), 1,
                  AllOf(HasSubstr("[/nowhere] there is no such folder"), HasSubstr("(rank 1 on host " + host_name() + ")")));
}

TEST_F(Launched, OtherOverlaysAreFoundBeforeAnythingIsLoaded) {
  const Words words = {"run", checkpoint(), "--mesh", "1x2", "--threads", "1", "--ids", "1", "-n", "1"};
  Words changed = words;
  changed.insert(changed.end(), {"--set", "model.layers.1.mla.wo.compute_kernel_config.math_fidelity=HiFi4"});
  expect_one_line(*launch_two(words, changed), 1,
                  AllOf(HasSubstr("rank 1 on host " + host_name() + " has prefill config="), HasSubstr("but rank 0 on host")));
}

TEST_F(Launched, OtherWeightsAreFoundBeforeAnythingIsLoaded) {
  const Words more = {"--threads", "1", "--ids", "1", "-n", "1"};
  Words first = {"run", store("store", checkpoint())};
  Words second = {"run", store("other", changed_checkpoint())};
  first.insert(first.end(), more.begin(), more.end());
  second.insert(second.end(), more.begin(), more.end());
  expect_one_line(*launch_two(first, second), 1,
                  AllOf(HasSubstr("rank 1 on host " + host_name() + " has store file "), HasSubstr("but rank 0 on host")));
}

/// Results of 8,000 tokens are more than fits into the L1 of any device.
TEST_F(Launched, AnErrorInTheMiddleOfAPassNamesRankOperatorAndLayer) {
  std::string ids = "1";
  for (int idx = 0; idx < 8000; ++idx) ids += ",2";
  const std::string model = MESHSEEK_SOURCE_DIR "/tests/data/checkpoints/moonlight-tiny";
  const auto job = launch(2, {"run", model, "--mesh", "1x2", "--threads", "1", "-n", "1", "--dtype", "float32", "--ids", ids, "--set",
                              "model.layers.1.**.memory_config.buffer_type=L1"});
  expect_one_line(*job, 1, AllOf(HasSubstr("on host " + host_name() + " failed in "), HasSubstr(", layer 1: "), HasSubstr("bytes of L1")));
}

TEST_F(Launched, TwoModelsAtOnceAreRefused) {
  std::ofstream(folder_.path() / "text") << "To be, or not to be";
  expect_one_line(
      *launch(2, {"score", shakespeare(), "--text", (folder_.path() / "text").string(), "--mesh", "1x2", "--reference", shakespeare()}), 1,
      HasSubstr("[--reference] the ranks of a launcher hold one model"));
}

}  // namespace
}  // namespace meshseek

// `meshseek run`: what it prints, when it converts, how it ends.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::int64_t> integers(const Tree& array) {
  std::vector<std::int64_t> values;
  for (const Tree& value : array.as_array("array")) values.push_back(value.as_integer("array"));
  return values;
}

/// One prompt of models/tiny-shakespeare/golden.json.
Tree golden_prompt(const std::string& name) {
  const Tree golden = parse_json(read_file(tiny_shakespeare() / "golden.json"), "golden.json");
  return *golden.find("prompts")->find(name);
}

class Run : public ProgramTest {
 protected:
  std::string v3_tiny_ = checkpoint("v3-tiny").string();
  std::string model_ = tiny_shakespeare().string();
};

TEST_F(Run, GreedyTextInFloat32EqualsTheGolden) {
  const Tree golden = golden_prompt("to-be");
  const Arguments arguments = {"run", model_, "--dtype", "float32", "-p", golden.find("text")->as_string("text")};
  EXPECT_EQ(run(arguments).out, golden.find("greedy_text")->as_string("greedy_text") + "\n");
  Arguments with_json = arguments;
  with_json.push_back("--json");
  const Tree answer = run(with_json).json();
  EXPECT_EQ(answer.find("text")->as_string("text"), golden.find("greedy_text")->as_string("greedy_text"));
  EXPECT_EQ(integers(*answer.find("ids")), integers(*golden.find("greedy_ids")));
  EXPECT_EQ(integers(*answer.find("prompt_ids")), integers(*golden.find("ids")));
  EXPECT_EQ(answer.find("finish_reason")->as_string("finish_reason"), "stop");
}

TEST_F(Run, JsonHasTheDocumentedMembers) {
  const Tree answer = run({"run", v3_tiny_, "--ids", "1,2,3", "-n", "4", "--json"}).json();
  std::vector<std::string> names;
  for (const auto& [name, value] : answer.as_object("answer")) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"text", "ids", "prompt_ids", "finish_reason", "timings"}));
  EXPECT_EQ(integers(*answer.find("prompt_ids")), (std::vector<std::int64_t>{1, 2, 3}));
  EXPECT_EQ(integers(*answer.find("ids")).size(), 4U);
  EXPECT_EQ(answer.find("finish_reason")->as_string("finish_reason"), "length");
  for (const char* timing : {"load_s", "prefill_s", "prefill_tok_s", "decode_tok_s"}) {
    EXPECT_GT(answer.find("timings")->find(timing)->as_number(timing), 0.0) << timing;
  }
}

TEST_F(Run, WithoutATokenizerItPrintsIds) {
  const Result text = run({"run", v3_tiny_, "--ids", "1,2,3", "-n", "3"});
  const Tree answer = run({"run", v3_tiny_, "--ids", "1,2,3", "-n", "3", "--json"}).json();
  std::string expected;
  for (const std::int64_t id : integers(*answer.find("ids"))) expected += (expected.empty() ? "" : ",") + std::to_string(id);
  EXPECT_EQ(text.out, expected + "\n");
}

TEST_F(Run, ASecondRunConvertsNothing) {
  const Arguments arguments = {"run", v3_tiny_, "--ids", "1,2,3", "-n", "4"};
  const Result first = run(arguments);
  EXPECT_THAT(first.err, HasSubstr("convert: "));
  std::map<std::string, fs::file_time_type> times;
  for (const auto& entry : fs::recursive_directory_iterator(cache())) times[entry.path().string()] = entry.last_write_time();
  EXPECT_GT(times.size(), 20U);

  const Result second = run(arguments);
  EXPECT_EQ(second.out, first.out);
  EXPECT_THAT(second.err, Not(HasSubstr("convert")));
  std::map<std::string, fs::file_time_type> times_after;
  for (const auto& entry : fs::recursive_directory_iterator(cache())) times_after[entry.path().string()] = entry.last_write_time();
  EXPECT_EQ(times_after, times);
}

TEST_F(Run, AnotherDtypeIsAnotherStoreInTheCache) {
  run({"run", v3_tiny_, "--ids", "1", "-n", "1"});
  run({"run", v3_tiny_, "--ids", "1", "-n", "1", "--dtype", "bfloat16"});
  EXPECT_EQ(std::distance(fs::directory_iterator(cache()), fs::directory_iterator()), 2);
}

TEST_F(Run, TheCacheIsBelowHomeByDefault) {
  set("MESHSEEK_CACHE", "");
  EXPECT_EQ(run({"run", v3_tiny_, "--ids", "1", "-n", "1"}).exit_code, 0);
  EXPECT_TRUE(fs::exists(folder() / "home" / ".cache" / "meshseek"));
}

TEST_F(Run, AStoreNeedsNoCheckpoint) {
  const fs::path copy = copy_checkpoint(tiny_shakespeare());
  const fs::path store = convert(copy);
  const Arguments flags = {"-p", "HAMLET.\n", "-n", "8"};
  Arguments with_checkpoint = {"run", copy.string()};
  Arguments with_store = {"run", store.string()};
  with_checkpoint.insert(with_checkpoint.end(), flags.begin(), flags.end());
  with_store.insert(with_store.end(), flags.begin(), flags.end());
  const Result before = run(with_checkpoint);
  fs::remove_all(copy);
  fs::remove_all(cache());
  const Result after = run(with_store);
  EXPECT_EQ(after.exit_code, 0) << after.err;
  EXPECT_GT(before.out.size(), 8U);
  EXPECT_EQ(after.out, before.out);
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(Run, WithoutModelTheInstalledOneRuns) {
  const Result result = run({"run", "-p", "HAMLET.\n", "-n", "4"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, run({"run", model_, "-p", "HAMLET.\n", "-n", "4"}).out);
}

TEST_F(Run, PromptsFromFlagFileAndStdinAreEqual) {
  const std::string prompt = "ROMEO.\nO, she doth teach\n";
  const Result flag = run({"run", model_, "-n", "6", "-p", prompt});
  EXPECT_EQ(flag.exit_code, 0) << flag.err;
  EXPECT_EQ(run({"run", model_, "-n", "6", "-f", write("prompt", prompt).string()}).out, flag.out);
  EXPECT_EQ(run({"run", model_, "-n", "6"}, prompt).out, flag.out);
}

TEST_F(Run, PromptTextNeverBecomesASpecialToken) {
  const Tree answer = run({"run", model_, "-n", "1", "--json", "-p", "[<｜User｜>, --stop]"}).json();
  const std::vector<std::int64_t> ids = integers(*answer.find("prompt_ids"));
  EXPECT_EQ(ids.front(), 0) << "the beginning-of-sentence token";
  EXPECT_THAT(ids, Not(::testing::Contains(4088)));
}

TEST_F(Run, AStopTextEndsTheContinuationAndIsNotShown) {
  const Arguments arguments = {"run",    model_,  "--dtype", "float32",   "-p",    "HAMLET.\nTo be, or not to be",
                               "--stop", "zebra", "--stop",  "not a man", "--json"};
  const Tree answer = run(arguments).json();
  EXPECT_EQ(answer.find("text")->as_string("text"), " a man of this?I am ");
  EXPECT_EQ(answer.find("finish_reason")->as_string("finish_reason"), "stop");
}

TEST_F(Run, IgnoreEosGoesOnAfterTheEndToken) {
  const Arguments arguments = {"run", model_, "--dtype",      "float32", "-p", "HAMLET.\nTo be, or not to be",
                               "-n",  "30",   "--ignore-eos", "--json"};
  const Tree answer = run(arguments).json();
  EXPECT_EQ(integers(*answer.find("ids")).size(), 30U);
  EXPECT_EQ(integers(*answer.find("ids"))[20], 1) << "the end token, as in the golden";
}

TEST_F(Run, TheTextEndsWhereTheContextEnds) {
  const fs::path model = copy_checkpoint(checkpoint("v3-tiny"));
  replace_in_file(model / "config.json", "\"max_position_embeddings\": 2560", "\"max_position_embeddings\": 12");
  const Tree answer = run({"run", model.string(), "--ids", "1,2,3,4,5,6,7", "-n", "100", "--ignore-eos", "--json"}).json();
  EXPECT_EQ(integers(*answer.find("ids")).size(), 5U);
  EXPECT_EQ(answer.find("finish_reason")->as_string("finish_reason"), "length");
  expect_failure(run({"run", model.string(), "--ids", "1,2,3,4,5,6,7,8,9,10,11,12,13"}), "13 tokens");
}

TEST_F(Run, EqualSeedsGiveEqualTextAndFiltersAskForSampling) {
  const auto ids = [&](const Arguments& flags) {
    Arguments arguments = {"run", v3_tiny_, "--ids", "1,2,3", "-n", "16", "--ignore-eos", "--json"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return integers(*run(arguments).json().find("ids"));
  };
  EXPECT_EQ(ids({"--temperature", "2", "--seed", "7"}), ids({"--temperature", "2", "--seed", "7"}));
  EXPECT_NE(ids({"--temperature", "2", "--seed", "7"}), ids({"--temperature", "2", "--seed", "8"}));
  EXPECT_EQ(ids({"--temperature", "2", "--seed", "7", "--top-k", "1"}), ids({}));
  EXPECT_EQ(ids({"--top-p", "0.9", "--seed", "7"}), ids({"--top-p", "0.9", "--seed", "7", "--temperature", "1"}));
  EXPECT_EQ(ids({"--top-p", "0.9", "--temperature", "0"}), ids({}));
}

TEST_F(Run, ConfigsFromConfigureGiveTheSameTextAsNone) {
  const std::string prefill = (folder() / "prefill.json").string();
  const std::string decode = (folder() / "decode.json").string();
  ASSERT_EQ(run({"configure", v3_tiny_, "--mode", "prefill", "-o", prefill}).exit_code, 0);
  ASSERT_EQ(run({"configure", v3_tiny_, "--mode", "decode", "-o", decode}).exit_code, 0);
  const Arguments plain = {"run", v3_tiny_, "--ids", "5,6,7", "-n", "8"};
  Arguments configured = plain;
  configured.insert(configured.end(), {"--prefill-config", prefill, "--decode-config", decode});
  EXPECT_EQ(run(configured).out, run(plain).out);
}

TEST_F(Run, TheNumberOfThreadsChangesNothing) {
  const Arguments arguments = {"run", v3_tiny_, "--ids", "5,6,7", "-n", "8", "--threads"};
  Arguments one = arguments;
  Arguments three = arguments;
  one.push_back("1");
  three.push_back("3");
  EXPECT_EQ(run(one).out, run(three).out);
}

TEST_F(Run, OneStoreRunsWithTwoConfigsAndNothingIsConvertedAgain) {
  const fs::path store = convert(v3_tiny_);
  const auto before = files_of(store);
  const Result standard = run({"logits", store.string(), "--ids", "5,6,7", "-o", (folder() / "a.safetensors").string()});
  const Result exact = run(
      {"logits", store.string(), "--ids", "5,6,7", "-o", (folder() / "b.safetensors").string(), "--set", "model.**.math_fidelity=HiFi4"});
  ASSERT_EQ(standard.exit_code, 0) << standard.err;
  ASSERT_EQ(exact.exit_code, 0) << exact.err;
  EXPECT_NE(read_file(folder() / "a.safetensors"), read_file(folder() / "b.safetensors"));
  EXPECT_EQ(files_of(store), before);
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(Run, TheOperatorLogShowsEachOperator) {
  set("MESHSEEK_LOG", "ops");
  const Result result = run({"run", v3_tiny_, "--ids", "5,6,7", "-n", "2"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* op : {"embedding ", "rms_norm ", "linear ", "flash_mla_prefill ", "flash_mla_decode ", "router "}) {
    EXPECT_THAT(result.err, HasSubstr(op));
  }
}

TEST_F(Run, ThePlanLogShowsEachDistinctPlanOnce) {
  set("MESHSEEK_LOG", "plan");
  const Result result = run({"run", v3_tiny_, "--ids", "5,6,7", "-n", "4"});
  EXPECT_EQ(result.exit_code, 0);
  for (const char* part :
       {"plan linear ", "plan grouped_linear ", "plan gated_linear ", "plan flash_mla_decode ", "result in L1", "result in DRAM"}) {
    EXPECT_THAT(result.err, HasSubstr(part));
  }
  std::istringstream lines(result.err);
  std::set<std::string> seen;
  for (std::string line; std::getline(lines, line);) EXPECT_TRUE(seen.insert(line).second) << line;
}

TEST_F(Run, AConfigForAnotherNumberOfCoresRunsWithANoteOrIsRefusedWhenStrict) {
  const std::string device = write("device.json", R"({"num_cores": 6, "l2_bytes": 1048576, "isa": "avx2"})").string();
  const std::string config = (folder() / "decode.json").string();
  ASSERT_EQ(run({"configure", v3_tiny_, "--mode", "decode", "--device", device, "-o", config}).exit_code, 0);
  const Result own = run({"run", v3_tiny_, "--ids", "5,6,7", "-n", "8", "--threads", "2"});
  const Result other = run({"run", v3_tiny_, "--ids", "5,6,7", "-n", "8", "--threads", "2", "--decode-config", config});
  EXPECT_EQ(own.out, other.out);
  EXPECT_THAT(own.err, Not(HasSubstr("cores")));
  EXPECT_THAT(other.err, HasSubstr("[decode config] was made for 6 cores and this device has 2"));
  expect_failure(run({"run", v3_tiny_, "--ids", "5,6,7", "--threads", "2", "--decode-config", config, "--strict"}), "was made for 6 cores");
}

TEST_F(Run, CtrlCStopsTheGenerationAndKeepsTheText) {
  const fs::path store = convert(tiny_shakespeare());
  const auto child = start({"run", store.string(), "-p", "HAMLET.\n", "-n", "2000", "--ignore-eos", "--threads", "1"});
  while (child->is_running() && child->out_so_far().size() < 20) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  child->send(SIGINT);
  const Result result = child->wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_GE(result.out.size(), 20U);
  EXPECT_THAT(result.err, Not(HasSubstr("meshseek: ")));
  EXPECT_THAT(result.err, HasSubstr("cancelled"));
}

TEST_F(Run, AReaderThatGoesAwayEndsTheProgramQuietly) {
  const fs::path store = convert(tiny_shakespeare());
  const fs::path pipe = folder() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const auto child = start({"run", store.string(), "-p", "HAMLET.\n", "-n", "2000", "--ignore-eos"}, "", pipe.string());
  const int fd = ::open(pipe.c_str(), O_RDONLY);
  char byte = 0;
  EXPECT_EQ(::read(fd, &byte, 1), 1);
  ::close(fd);
  const Result result = child->wait();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
}

}  // namespace
}  // namespace meshseek::cli_test

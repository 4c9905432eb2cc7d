// `meshseek convert`: what it says, and that no interruption leaves a store that looks finished.
#include <gmock/gmock.h>

#include <csignal>
#include <thread>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::MatchesRegex;

std::size_t count_tensors(const fs::path& store) {
  std::size_t count = 0;
  std::error_code ignored;
  // The folder changes while it is read: an entry may be gone before it is looked at.
  for (fs::recursive_directory_iterator entry(store, ignored), end; entry != end; entry.increment(ignored)) {
    count += entry->path().extension() == ".tensorbin" ? 1U : 0U;
  }
  return count;
}

class Convert : public ProgramTest {
 protected:
  /// Starts a conversion and sends `signal_number` as soon as it has written so many tensor files. \return how it ended
  Result disturb(const fs::path& model, const fs::path& store, std::size_t num_tensors, int signal_number) {
    const auto child = start({"convert", model.string(), store.string(), "--jobs", "1"});
    while (child->is_running() && count_tensors(store) < num_tensors) std::this_thread::sleep_for(std::chrono::microseconds(100));
    child->send(signal_number);
    return child->wait();
  }
};

TEST_F(Convert, ReportsWhatItWrote) {
  const std::string store = (folder() / "store").string();
  const Result first = run({"convert", checkpoint("v3-tiny").string(), store});
  EXPECT_EQ(first.exit_code, 0);
  EXPECT_EQ(first.err, "");
  EXPECT_THAT(first.out, MatchesRegex("[0-9]+ tensors, [0-9.]+ MB, [0-9.]+ s, [0-9.]+ MB/s, 0 up to date\n"));
  const Tree second = run({"convert", checkpoint("v3-tiny").string(), store, "--json"}).json();
  const auto num_tensors = static_cast<std::int64_t>(count_tensors(store));
  EXPECT_EQ(second.find("tensors")->as_integer("tensors"), num_tensors);
  EXPECT_EQ(second.find("up_to_date")->as_integer("up_to_date"), num_tensors);
  std::int64_t bytes = 0;
  for (const auto& [name, content] : files_of(store)) bytes += name.ends_with(".tensorbin") ? static_cast<std::int64_t>(content.size()) : 0;
  EXPECT_EQ(second.find("bytes")->as_integer("bytes"), bytes);
  for (const char* name : {"seconds", "mb_per_s"}) EXPECT_TRUE(second.find(name)->is_number()) << name;
}

TEST_F(Convert, ForceWritesTheSameBytesAgain) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const auto before = files_of(store);
  const auto written = fs::last_write_time(store / "weight_config.json");
  const Tree report = run({"convert", checkpoint("v3-tiny").string(), store.string(), "--force", "--json"}).json();
  EXPECT_EQ(report.find("up_to_date")->as_integer("up_to_date"), 0);
  EXPECT_GT(fs::last_write_time(store / "weight_config.json"), written);
  EXPECT_EQ(files_of(store), before);
}

TEST_F(Convert, ADtypePolicyChangesTheOperatorsItNames) {
  const fs::path policy = write("policy.json", R"({"format_version": 1, "model": {"lm_head": "float32"}})");
  const fs::path store = convert(checkpoint("v3-tiny"), "store", {"--dtype-policy", policy.string()});
  const Tree document = run({"inspect", (store / "lm_head.input_tensor_b.tensorbin").string(), "--json"}).json();
  EXPECT_EQ(document.find("dtype")->as_string("dtype"), "float32");
  const Tree other = run({"inspect", (store / "layers/0/mla/wo.input_tensor_b.tensorbin").string(), "--json"}).json();
  EXPECT_EQ(other.find("dtype")->as_string("dtype"), "bfloat8_b");
}

TEST_F(Convert, AKilledConversionIsRefusedAndCompleted) {
  const fs::path model = tiny_shakespeare();
  const fs::path undisturbed = convert(model, "undisturbed", {"--jobs", "1"});
  const auto expected = files_of(undisturbed);
  const std::size_t num_tensors = count_tensors(undisturbed);
  ASSERT_GT(num_tensors, 100U);
  for (std::size_t moment = 0; moment < 10; ++moment) {
    const fs::path store = folder() / ("killed" + std::to_string(moment));
    // From before the first tensor file to shortly before the last one.
    EXPECT_EQ(disturb(model, store, moment * num_tensors / 10, SIGKILL).signal, SIGKILL) << moment;
    const Result refused = run({"run", store.string(), "--ids", "1,2", "-n", "1"});
    expect_failure(refused, moment == 0 ? "" : "did not finish");
    const Result completed = run({"convert", model.string(), store.string()});
    EXPECT_EQ(completed.exit_code, 0) << completed.err;
    EXPECT_TRUE(files_of(store) == expected) << "moment " << moment;
    fs::remove_all(store);
  }
}

TEST_F(Convert, CtrlCEndsItQuietlyAndTheNextOneCompletesIt) {
  const fs::path undisturbed = convert(tiny_shakespeare(), "undisturbed");
  const fs::path store = folder() / "store";
  const Result result = disturb(tiny_shakespeare(), store, 10, SIGINT);
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(result.out + result.err, "");
  EXPECT_EQ(run({"convert", tiny_shakespeare().string(), store.string()}).exit_code, 0);
  EXPECT_TRUE(files_of(store) == files_of(undisturbed));
}

TEST_F(Convert, TwoProcessesAtOnceConvertOnce) {
  const Arguments arguments = {"convert", tiny_shakespeare().string(), (folder() / "store").string(), "--json"};
  const auto first = start(arguments);
  const auto second = start(arguments);
  const Tree report = first->wait().json();
  const Tree other = second->wait().json();
  const std::int64_t num_up_to_date =
      report.find("up_to_date")->as_integer("up_to_date") + other.find("up_to_date")->as_integer("up_to_date");
  EXPECT_EQ(num_up_to_date, report.find("tensors")->as_integer("tensors"));
  EXPECT_EQ(run({"run", (folder() / "store").string(), "--ids", "1", "-n", "1"}).exit_code, 0);
}

}  // namespace
}  // namespace meshseek::cli_test

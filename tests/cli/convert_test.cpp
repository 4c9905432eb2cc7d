// `meshseek convert`: what it says, and that no interruption leaves a store that looks finished.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/file.hpp"
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

/// Files that the journal of an unfinished conversion calls whole.
std::size_t count_finished(const fs::path& store) {
  const fs::path journal = store / "conversion_staging/journal.jsonl";
  if (!fs::exists(journal)) return 0;
  const std::string text = read_text_file(journal);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
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
  constexpr std::size_t kMoments = 30;
  for (std::size_t moment = 0; moment < kMoments; ++moment) {
    const fs::path store = folder() / ("killed" + std::to_string(moment));
    // From before the first tensor file to shortly before the last one.
    EXPECT_EQ(disturb(model, store, moment * num_tensors / kMoments, SIGKILL).signal, SIGKILL) << moment;
    const Result refused = run({"run", store.string(), "--ids", "1,2", "-n", "1"});
    expect_failure(refused, moment == 0 ? "" : "did not finish");
    const std::size_t num_finished = count_finished(store);
    const Result completed = run({"convert", model.string(), store.string(), "--json"});
    EXPECT_EQ(completed.exit_code, 0) << completed.err;
    EXPECT_EQ(completed.json().find("up_to_date")->as_integer(""), static_cast<std::int64_t>(num_finished))
        << "nothing finished is done again";
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

/// A command in a mount namespace of its own, where `mounts` has been done. Needs root, as the machines of the tests give.
Result in_namespace(const fs::path& folder, const std::string& mounts, const std::string& command) {
  const std::string out = (folder / "shell.out").string();
  const std::string err = (folder / "shell.err").string();
  const std::string line = "unshare -m sh -c '" + mounts + " && " + command + "' >" + out + " 2>" + err;
  const int status = std::system(line.c_str());
  return {.exit_code = WEXITSTATUS(status), .out = read_text_file(out), .err = read_text_file(err)};
}

TEST_F(Convert, AFullDiskIsOneClearErrorAndTheOldStoreStaysUsable) {
  const fs::path disk = folder() / "disk";
  fs::create_directories(disk);
  const std::string mount = "mount -t tmpfs -o size=8m tmpfs " + disk.string();
  const std::string store = (disk / "store").string();
  const std::string program = MESHSEEK_PROGRAM;
  // Too small for the store from the start.
  const Result early = in_namespace(folder(), mount, program + " convert " + tiny_shakespeare().string() + " " + store);
  expect_failure(early, "are free; make room or name another folder");
  // Full in the middle: the room is gone, though it looked as if it was there (no inodes are left).
  const std::string small = checkpoint("v2-tiny").string();
  const std::string inodes = "mount -t tmpfs -o size=8m,nr_inodes=40 tmpfs " + disk.string();
  expect_failure(in_namespace(folder(), inodes, program + " convert " + small + " " + store), "No space left on device");
  // A finished store survives an update that does not fit: it runs as before, and completes when there is room.
  const std::string update = program + " convert " + small + " " + store + " --dtype float32";
  const std::string survive = program + " convert " + small + " " + store + " >/dev/null && head -c 4000000 /dev/zero > " +
                              (disk / "ballast").string() + " && ! " + update + " 2>" + (folder() / "error").string() + " && " + program +
                              " verify " + store + " >/dev/null && " + program + " run " + store + " --ids 1,2 -n 1 --json && rm " +
                              (disk / "ballast").string() + " && " + update + " >/dev/null && " + program + " verify " + store;
  const Result survived = in_namespace(folder(), mount, survive);
  EXPECT_EQ(survived.exit_code, 0) << survived.out << survived.err << read_text_file(folder() / "error");
  EXPECT_THAT(read_text_file(folder() / "error"), ::testing::HasSubstr("make room or name another folder"));
}

TEST_F(Convert, AReadOnlyFolderIsOneClearErrorAndTheStoreStaysUsable) {
  const fs::path store = convert(checkpoint("v2-tiny"));
  const auto before = files_of(store);
  const std::string mount = "mount --bind " + store.string() + " " + store.string() + " && mount -o remount,bind,ro " + store.string();
  const std::string program = MESHSEEK_PROGRAM;
  const std::string update = program + " convert " + checkpoint("v2-tiny").string() + " " + store.string() + " --dtype float32";
  expect_failure(in_namespace(folder(), mount, update), "Read-only file system");
  EXPECT_EQ(in_namespace(folder(), mount, program + " run " + store.string() + " --ids 1,2 -n 1").exit_code, 0);
  EXPECT_EQ(files_of(store), before);
}

TEST_F(Convert, AVanishedSourceIsOneClearErrorAndTheStoreStaysUsable) {
  const fs::path model = folder() / "model";
  fs::copy(checkpoint("v3-tiny"), model);
  const fs::path store = convert(model);
  const auto before = files_of(store);
  fs::remove(model / "model-00002-of-000002.safetensors");
  expect_failure(run({"convert", model.string(), store.string()}), "model-00002-of-000002.safetensors");
  fs::remove_all(model);
  expect_failure(run({"convert", model.string(), store.string()}), "there is no such folder");
  EXPECT_EQ(files_of(store), before);
  EXPECT_EQ(run({"verify", store.string()}).exit_code, 0);
}

TEST_F(Convert, ExplainsWhatItBuildsAndReportsTheErrors) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const fs::path policy = write("policy.json", R"({"format_version": 1, "model": {"layers": {"0": {"mlp": "bfloat4_b"}}}})");
  const std::string report = (folder() / "report.json").string();
  const Result result =
      run({"convert", checkpoint("v3-tiny").string(), store.string(), "--dtype-policy", policy.string(), "--explain", "--report", report});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, ::testing::HasSubstr("layers/0/mlp/w1.input_tensor_b.tensorbin: dtype bfloat8_b -> bfloat4_b\n"));
  EXPECT_THAT(result.out, ::testing::HasSubstr("worst tensors"));
  const Tree document = parse_json(read_text_file(report), report);
  const auto& tensors = document.find("tensors")->as_array("tensors");
  EXPECT_EQ(tensors.size(), count_tensors(store));
  // The worst are those of 4 bits, and what is stored as it was has no error.
  EXPECT_EQ(tensors.front().find("dtype")->as_string(""), "bfloat4_b");
  EXPECT_GT(tensors.front().find("relative_error")->as_number(""), 0.03);
  EXPECT_LT(tensors.front().find("relative_error")->as_number(""), 0.2);
  EXPECT_NEAR(tensors.front().find("sqnr_db")->as_number(""), -20 * std::log10(tensors.front().find("relative_error")->as_number("")),
              1e-9);
  EXPECT_EQ(tensors.back().find("relative_error")->as_number(""), 0.0);
  EXPECT_TRUE(tensors.back().find("sqnr_db")->is_null());
}

TEST_F(Convert, TwoProcessesAtOnceConvertOnce) {
  for (int round = 0; round < 20; ++round) {  // they meet at different moments
    const std::string store = (folder() / fmt::format("store_{}", round)).string();
    const Arguments arguments = {"convert", tiny_shakespeare().string(), store, "--json"};
    const auto first = start(arguments);
    const auto second = start(arguments);
    const Result one = first->wait();
    const Result two = second->wait();
    ASSERT_EQ(one.exit_code, 0) << one.err;
    ASSERT_EQ(two.exit_code, 0) << two.err;
    const Tree report = one.json();
    const std::int64_t num_up_to_date =
        report.find("up_to_date")->as_integer("up_to_date") + two.json().find("up_to_date")->as_integer("up_to_date");
    ASSERT_EQ(num_up_to_date, report.find("tensors")->as_integer("tensors"));
    if (round == 0) {
      EXPECT_EQ(run({"run", store, "--ids", "1", "-n", "1"}).exit_code, 0);
    }
  }
}

}  // namespace
}  // namespace meshseek::cli_test

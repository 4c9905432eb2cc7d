#include "tests/cli/program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace meshseek::cli_test {
namespace {

/// "NAME=value" entries: the caller's environment without MESHSEEK_*, then `changes`.
std::vector<std::string> merged_environment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    if (!name.starts_with("MESHSEEK_") && !changes.contains(name)) entries.push_back(text);
  }
  for (const auto& [name, value] : changes) entries.push_back(name + "=" + value);
  return entries;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// In the child, where nothing but plain system calls is safe.
void redirect(int target, const char* path, int flags) {
  const int fd = ::open(path, flags, 0600);
  if (fd < 0 || ::dup2(fd, target) < 0) ::_exit(126);
  ::close(fd);
}

void expect_one_error(const Result& result, int exit_code, std::string_view part) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(result.err.starts_with("meshseek: ")) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  EXPECT_TRUE(result.err.ends_with('\n')) << result.err;
  EXPECT_NE(result.err.find(part), std::string::npos) << result.err;
}

}  // namespace

Child::Child(const fs::path& folder, const Arguments& arguments, const std::map<std::string, std::string>& environment,
             const std::string& input, const std::string& out_path)
    : folder_(folder), out_path_(out_path.empty() ? (folder / "out").string() : out_path) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "in", std::ios::binary) << input;
  for (const char* stream : {"out", "err"}) std::ofstream(folder_ / stream, std::ios::binary);  // readable before the child opens them
  std::vector<std::string> texts = {MESHSEEK_PROGRAM};
  texts.insert(texts.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = merged_environment(environment);
  const std::vector<char*> argv = pointers_to(texts);
  const std::vector<char*> envp = pointers_to(variables);
  const std::string in_path = (folder_ / "in").string();
  const std::string err_path = (folder_ / "err").string();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ > 0) return;
  redirect(STDIN_FILENO, in_path.c_str(), O_RDONLY);
  redirect(STDOUT_FILENO, out_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC);
  redirect(STDERR_FILENO, err_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC);
  ::execve(MESHSEEK_PROGRAM, argv.data(), envp.data());
  ::_exit(127);
}

Child::~Child() {
  if (has_ended_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
}

bool Child::is_running() {
  if (!has_ended_) has_ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return !has_ended_;
}

void Child::send(int signal_number) const {
  if (!has_ended_) ::kill(pid_, signal_number);  // afterwards the number may belong to another process
}

std::string Child::out_so_far() const { return read_file(out_path_); }

Result Child::wait() {
  if (!has_ended_) ::waitpid(pid_, &status_, 0);
  has_ended_ = true;
  Result result;
  if (WIFEXITED(status_)) result.exit_code = WEXITSTATUS(status_);
  if (WIFSIGNALED(status_)) result.signal = WTERMSIG(status_);
  if (out_path_ == (folder_ / "out").string()) result.out = read_file(out_path_);
  result.err = read_file(folder_ / "err");
  return result;
}

std::unique_ptr<Child> ProgramTest::start(const Arguments& arguments, const std::string& input, const std::string& out_path) {
  std::map<std::string, std::string> environment = {{"HOME", (folder() / "home").string()},
                                                    {"MESHSEEK_CACHE", cache().string()},
                                                    {"MESHSEEK_MODELS", (source_folder() / "models").string()}};
  for (const auto& [name, value] : environment_) environment[name] = value;
  return std::make_unique<Child>(folder() / fmt::format("child{}", num_children_++), arguments, environment, input, out_path);
}

Result ProgramTest::run(const Arguments& arguments, const std::string& input) { return start(arguments, input)->wait(); }

fs::path ProgramTest::copy_checkpoint(const fs::path& source) {
  const fs::path copy = folder() / source.filename();
  fs::create_directories(copy);
  for (const auto& entry : fs::directory_iterator(source)) {
    if (!entry.path().filename().string().starts_with("golden")) fs::copy_file(entry.path(), copy / entry.path().filename());
  }
  return copy;
}

fs::path ProgramTest::convert(const fs::path& checkpoint, const std::string& name, const Arguments& flags) {
  const fs::path store = folder() / name;
  Arguments arguments = {"convert", checkpoint.string(), store.string()};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  const Result result = run(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return store;
}

fs::path ProgramTest::write(const std::string& name, std::string_view text) {
  std::ofstream(folder() / name, std::ios::binary) << text;
  return folder() / name;
}

fs::path source_folder() { return MESHSEEK_SOURCE_DIR; }
fs::path tiny_shakespeare() { return source_folder() / "models" / "tiny-shakespeare"; }
fs::path checkpoint(const std::string& name) { return source_folder() / "tests" / "data" / "checkpoints" / name; }

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

void replace_in_file(const fs::path& path, std::string_view from, std::string_view to) {
  std::string text = read_file(path);
  const std::size_t position = text.find(from);
  ASSERT_NE(position, std::string::npos) << path << " does not hold " << from;
  text.replace(position, from.size(), to);
  std::ofstream(path, std::ios::binary) << text;
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || entry.path().filename() == "conversion_lock") continue;
    files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return files;
}

void expect_failure(const Result& result, std::string_view part) { expect_one_error(result, 1, part); }
void expect_usage_error(const Result& result, std::string_view part) { expect_one_error(result, 2, part); }

}  // namespace meshseek::cli_test

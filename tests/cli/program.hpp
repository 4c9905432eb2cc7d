/// Runs the real program as a child process, with folders of its own for everything it may write.
#pragma once
#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/tree.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek::cli_test {

namespace fs = std::filesystem;

struct Result {
  int exit_code = -1;  ///< -1 when a signal ended it
  int signal = 0;
  std::string out = {};
  std::string err = {};
  /// Standard output as JSON; a test failure when it is none.
  Tree json() const { return parse_json(out, "stdout"); }
};

using Arguments = std::vector<std::string>;

/// A running child; its streams are files. Killed and waited for by the destructor when that was not done.
class Child {
 public:
  Child(const fs::path& folder, const Arguments& arguments, const std::map<std::string, std::string>& environment, const std::string& input,
        const std::string& out_path);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();

  bool is_running();
  void send(int signal_number) const;
  /// What it has written to stdout so far.
  std::string out_so_far() const;
  Result wait();

 private:
  fs::path folder_;
  std::string out_path_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool has_ended_ = false;
};

/// A temporary folder with HOME and cache inside; nothing of the caller's environment that starts with MESHSEEK_ reaches the program.
class ProgramTest : public ::testing::Test {
 protected:
  fs::path folder() const { return folder_.path(); }
  fs::path cache() const { return folder() / "cache"; }

  Result run(const Arguments& arguments, const std::string& input = "");
  /// `out_path`: where stdout goes, e.g. /dev/full; empty: a file of the child's own
  std::unique_ptr<Child> start(const Arguments& arguments, const std::string& input = "", const std::string& out_path = "");
  /// Sets a variable of the program's environment.
  void set(const std::string& name, const std::string& value) { environment_[name] = value; }

  /// A copy of a checkpoint that the test may damage.
  fs::path copy_checkpoint(const fs::path& source);
  /// Converts into a store below folder().
  fs::path convert(const fs::path& checkpoint, const std::string& name = "store", const Arguments& flags = {});
  fs::path write(const std::string& name, std::string_view text);

 private:
  TemporaryFolder folder_;
  std::map<std::string, std::string> environment_;
  int num_children_ = 0;
};

fs::path source_folder();
fs::path tiny_shakespeare();
fs::path checkpoint(const std::string& name);  ///< below tests/data/checkpoints

std::string read_file(const fs::path& path);
/// Replaces the first `from` in a file; a test failure when there is none.
void replace_in_file(const fs::path& path, std::string_view from, std::string_view to);
/// Content of every file by its path below `folder`, lock files left out.
std::map<std::string, std::string> files_of(const fs::path& folder);

/// Exit code 1, nothing on stdout, exactly one line "meshseek: ..." on stderr that holds `part`.
void expect_failure(const Result& result, std::string_view part);
/// The same with exit code 2.
void expect_usage_error(const Result& result, std::string_view part);

}  // namespace meshseek::cli_test

/// A program under a real mpirun.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace meshseek {

class MpiJob {
 public:
  /// \param folder for what it prints \param launcher the words before mpirun's own; empty: none
  MpiJob(const std::filesystem::path& folder, int num_ranks, const std::vector<std::string>& command,
         const std::vector<std::string>& launcher = {}, const std::vector<std::string>& flags = {})
      : folder_(folder) {
    std::vector<std::string> texts = launcher;
    for (const char* text : {MESHSEEK_MPIRUN, "--allow-run-as-root", "--oversubscribe", "-n"}) texts.emplace_back(text);
    texts.push_back(std::to_string(num_ranks));
    texts.insert(texts.end(), flags.begin(), flags.end());
    texts.insert(texts.end(), command.begin(), command.end());
    std::vector<char*> argv;
    for (std::string& text : texts) argv.push_back(text.data());
    argv.push_back(nullptr);
    const std::string out = (folder / "out").string();
    const std::string err = (folder / "err").string();
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("cannot fork");
    if (pid_ > 0) return;
    ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
    // OpenMPI leaks, and has unloaded what leaked when the leak detector looks.
    const char* asan = ::getenv("ASAN_OPTIONS");
    ::setenv("ASAN_OPTIONS", (std::string(asan == nullptr ? "" : asan) + ":detect_leaks=0").c_str(), 1);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  MpiJob(const MpiJob&) = delete;
  MpiJob& operator=(const MpiJob&) = delete;
  ~MpiJob() {
    if (has_ended_) return;
    ::kill(pid_, SIGTERM);  // mpirun ends its ranks
    ::waitpid(pid_, &status_, 0);
  }

  /// \return the exit code; -1: it still runs after that time, or a signal ended it
  int wait(std::chrono::seconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!has_ended_ && std::chrono::steady_clock::now() < end) {
      has_ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
      if (!has_ended_) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return has_ended_ && WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
  }

  std::string out() const { return text_of("out"); }
  std::string err() const { return text_of("err"); }
  /// Lines of our own on stderr; mpirun adds some of its own.
  std::vector<std::string> messages() const {
    std::istringstream lines(err());
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("meshseek: ")) found.push_back(line);
    }
    return found;
  }

 private:
  std::string text_of(const char* name) const {
    std::ostringstream text;
    text << std::ifstream(folder_ / name, std::ios::binary).rdbuf();
    return text.str();
  }

  std::filesystem::path folder_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool has_ended_ = false;
};

}  // namespace meshseek

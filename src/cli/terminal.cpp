#include "cli/terminal.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.hpp"

namespace meshseek::cli {
namespace {

// A signal handler can reach nothing but a variable with static storage.
volatile std::sig_atomic_t interrupt_flag = 0;

extern "C" void on_interrupt(int) { interrupt_flag = 1; }

/// \return 0, or the error number of the failed write
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  ::sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool is_interrupted() { return interrupt_flag != 0; }

void check_interrupted() {
  if (is_interrupted()) throw Interrupted();
}

void print(std::string_view text) {
  const int error = write_all(STDOUT_FILENO, text);
  if (error == EPIPE) throw BrokenPipe();
  if (error != 0) throw Error(fmt::format("[stdout] cannot write: {}", std::strerror(error)));
}

void print_note(std::string_view line) { static_cast<void>(write_all(STDERR_FILENO, std::string(line) + "\n")); }

void rewrite_note(std::string_view line) { static_cast<void>(write_all(STDERR_FILENO, "\r\033[K" + std::string(line))); }

void print_error(std::string_view message) { print_note(one_line("meshseek: " + std::string(message))); }

bool stdin_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }
bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

std::string read_stdin() {
  std::string text;
  std::array<char, 65536> buffer = {};
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    check_interrupted();
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(fmt::format("[stdin] cannot read: {}", std::strerror(errno)));
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

}  // namespace meshseek::cli

/// Standard streams and signals.
#pragma once
#include <exception>
#include <string>
#include <string_view>

namespace meshseek::cli {

/// Whoever read stdout has gone: the program ends quietly.
class BrokenPipe : public std::exception {};
/// Ctrl-C (SIGINT): the program ends with exit code 130.
class Interrupted : public std::exception {};

/// The first SIGINT sets a flag, a second one kills the process. SIGPIPE becomes a failed write.
void install_signal_handlers();
bool is_interrupted();
/// \throws Interrupted after a SIGINT.
void check_interrupted();

/// Writes to stdout at once. \throws BrokenPipe, Error when it cannot be written (disk full, ...).
void print(std::string_view text);
/// Writes one line to stderr; failures are ignored.
void print_note(std::string_view line);
/// Replaces the current line of the terminal behind stderr.
void rewrite_note(std::string_view line);
/// Writes "meshseek: <message>" to stderr as one line, whatever the message holds.
void print_error(std::string_view message);

bool stdin_is_terminal();
bool stderr_is_terminal();
/// All of stdin, byte for byte. \throws Error, Interrupted.
std::string read_stdin();

}  // namespace meshseek::cli

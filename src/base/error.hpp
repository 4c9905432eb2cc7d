/// Exceptions of the project. Every message is one line: where, what was given, what was expected, what to do.
#pragma once
#include <stdexcept>
#include <string>
#include <utility>

namespace meshseek {

/// `message` as one line, whatever parts of files and names went into it: control characters become blanks, and of more than 1,900 bytes the
/// middle is left out.
std::string one_line(std::string message);

/// The work failed: a bad file, a broken contract, a failed check. The program exits with 1.
class Error : public std::runtime_error {
 public:
  explicit Error(std::string message) : std::runtime_error(one_line(std::move(message))) {}
};

/// Tensor shapes or element types that do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A config tree (model config, weight config, overlay) that is malformed or does not fit its partner.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// The command line is wrong. The program exits with 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace meshseek

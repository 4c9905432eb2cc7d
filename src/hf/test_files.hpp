/// Files that tests of this room write and read.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/mapped_file.hpp"

namespace meshseek::testing {

inline Path data_file(const std::string& name) { return Path(MESHSEEK_SOURCE_DIR) / "tests" / "data" / name; }
inline Path checkpoint(const std::string& name) { return data_file("checkpoints/" + name); }

/// A safetensors file of any header text, right or wrong, and `data_bytes` zeros.
inline std::string safetensors_bytes(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + std::string(data_bytes, '\0');
}

inline void write_text(const Path& path, std::string_view text) { write_file_atomically(path, text); }

/// The message of the Error that `action` throws; the test fails when it throws none, or when the message is no single line.
template <class Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(message.front(), '[') << message;
    return message;
  }
  ADD_FAILURE() << "expected an Error";
  return "";
}

}  // namespace meshseek::testing

/// Classes of malformed files, each with its own error.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace meshseek::testing {

struct MalformedFile {
  std::string name = {};      ///< of the class
  std::string content = {};   ///< of the file
  std::string expected = {};  ///< part of the message, which no other class has in its message
};

/// Expects that `read(content)` refuses every file with one line: "[file...] what was given; what was expected; what to do".
template <class Read>
void expect_own_messages(std::span<const MalformedFile> files, Read&& read) {
  std::vector<std::string> messages;
  for (const MalformedFile& file : files) {
    SCOPED_TRACE(file.name);
    messages.emplace_back();
    try {
      read(file.content);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      messages.back() = error.what();
      EXPECT_THAT(messages.back(), ::testing::HasSubstr(file.expected));
      EXPECT_THAT(messages.back(), ::testing::MatchesRegex("\\[file.*\\] .+; (convert|download|give|use) [^;]+"));
      EXPECT_THAT(messages.back(), ::testing::Not(::testing::HasSubstr("\n")));
    }
  }
  for (std::size_t own = 0; own < files.size(); ++own) {
    for (std::size_t other = 0; other < files.size(); ++other) {
      if (own == other) continue;
      EXPECT_THAT(messages[other], ::testing::Not(::testing::HasSubstr(files[own].expected))) << files[other].name;
    }
  }
}

}  // namespace meshseek::testing

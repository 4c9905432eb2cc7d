// `meshseek bench convert`: it measures, says what, and leaves nothing behind.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

class Bench : public ProgramTest {};

TEST_F(Bench, ConvertMeasuresAgainstDiskAndMemoryAndLeavesNothing) {
  const std::string out = (folder() / "bench").string();
  const Tree result = run({"bench", "convert", "--out", out, "--size", "32", "--reps", "2", "--threads", "2", "--json"}).json();
  const auto rate = [&](const char* name) { return result.find(name)->find("median")->as_number(name); };
  const double limit = std::min(rate("write_bytes_per_s"), rate("memcpy_bytes_per_s") / 3.0);
  EXPECT_GT(rate("convert_bytes_per_s"), 0.0);
  EXPECT_DOUBLE_EQ(result.find("limit_bytes_per_s")->as_number(""), limit);
  EXPECT_DOUBLE_EQ(result.find("share")->as_number(""), rate("convert_bytes_per_s") / limit);
  EXPECT_EQ(result.find("threads")->as_integer(""), 2);
  EXPECT_TRUE(fs::is_empty(out));
  const Result table = run({"bench", "convert", "--out", out, "--size", "16", "--reps", "1"});
  EXPECT_THAT(table.out, ::testing::HasSubstr("share "));
}

TEST_F(Bench, WhatCannotBeMeasuredIsAUsageError) {
  expect_usage_error(run({"bench", "luck"}), "expected convert");
  expect_usage_error(run({"bench"}), "WHAT is required");
}

}  // namespace
}  // namespace meshseek::cli_test

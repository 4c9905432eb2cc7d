// The trace of a run: one track per device, operators in their order.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

class Trace : public ProgramTest {};

double number(const Tree& event, const char* key) { return event.find(key)->as_number(key); }

TEST_F(Trace, HasEveryOperatorOnceAPass) {
  const fs::path file = folder() / "trace.json";
  const Result result = run({"run", checkpoint("v3-tiny").string(), "--ids", "1,2,3", "-n", "3", "--trace-file", file.string()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Tree document = parse_json(read_file(file), "trace");
  std::map<std::string, int> counts;
  double last_end = 0.0;
  for (const Tree& event : document.find("traceEvents")->as_array("traceEvents")) {
    if (event.find("ph")->as_string("ph") == "M") continue;
    ++counts[event.find("name")->as_string("name")];
    EXPECT_GE(number(event, "ts") + 0.002, last_end);  // three decimals
    last_end = number(event, "ts") + number(event, "dur");
  }
  EXPECT_EQ(counts["model.lm_head"], 3);
  EXPECT_EQ(counts["model.layers.0.mla.wo"], 3);
  EXPECT_EQ(counts["model.embedding"], 3);
}

TEST_F(Trace, NamesItsTracksByDevice) {
  const fs::path file = folder() / "trace.json";
  ASSERT_EQ(run({"run", checkpoint("v3-tiny").string(), "--ids", "1", "-n", "1", "--trace-file", file.string()}).exit_code, 0);
  const Tree document = parse_json(read_file(file), "trace");
  const Tree& head = document.find("traceEvents")->as_array("traceEvents").front();
  EXPECT_EQ(*head.find("name"), Tree("thread_name"));
  EXPECT_EQ(*head.find("args")->find("name"), Tree("device 0 (0, 0)"));
}

TEST_F(Trace, AndCaptureExcludeEachOther) {
  expect_usage_error(run({"run", checkpoint("v3-tiny").string(), "--ids", "1", "--trace-file", "a", "--capture", "b"}), "excludes");
}

}  // namespace
}  // namespace meshseek::cli_test

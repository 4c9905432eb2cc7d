#include "tests/cli/program.hpp"

#include <gmock/gmock.h>

namespace meshseek::cli_test {
namespace {

using BenchCollectives = ProgramTest;

TEST_F(BenchCollectives, EveryCollectiveHasARowForEachSize) {
  const Result result = run({"bench", "collectives", "--mesh", "1x3", "--bytes", "4096,8192", "--reps", "1", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Tree rows = result.json();
  EXPECT_EQ(rows.as_array("rows").size(), 2U * (3 * 3 + 1));
  EXPECT_THAT(result.out, ::testing::HasSubstr("\"topology\": \"Linear\""));
}

TEST_F(BenchCollectives, OneDeviceHasNothingToMeasure) { expect_usage_error(run({"bench", "collectives"}), "give a mesh, e.g. --mesh 1x2"); }

}  // namespace
}  // namespace meshseek::cli_test

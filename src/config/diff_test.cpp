#include "config/diff.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace meshseek {
namespace {
using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> diff(const std::string& left, const std::string& right) {
  return diff_configs(parse_json(left, "left"), parse_json(right, "right"), "a.json", "b.json");
}

TEST(Diff, EqualConfigsHaveNoDifferencesHoweverTheyAreFolded) {
  EXPECT_THAT(diff(R"({"layers": {"0-2": {"w": {"op": "L", "a": 1}}}})",
                   R"({"layers": {"2": {"w": {"op": "L", "a": 1}}, "0-1": {"w": {"a": 1, "op": "L"}}}})"),
              IsEmpty());
}

TEST(Diff, EqualDifferencesOfNeighbouringLayersBecomeOneRange) {
  EXPECT_THAT(
      diff(R"({"layers": {"0-5": {"w": {"op": "L", "dtype": "bfloat16", "x": 1}}}})",
           R"({"layers": {"0-2": {"w": {"op": "L", "dtype": "float32", "x": 1}}, "3": {"w": {"op": "L", "dtype": "bfloat16", "x": 1}},
                                  "4": {"w": {"op": "L", "dtype": "float32", "x": 1}}, "5": {"w": {"op": "L", "dtype": "a", "x": 2}}}})"),
      ElementsAre("layers.0-2.w.dtype: bfloat16 -> float32", "layers.4.w.dtype: bfloat16 -> float32", "layers.5.w.dtype: bfloat16 -> a",
                  "layers.5.w.x: 1 -> 2"));
}

TEST(Diff, ListsInsideListsAreFoldedAtBothLevels) {
  EXPECT_THAT(
      diff(
          R"({"layers": {"0-3": {"experts": {"0-7": {"op": "L", "a": 1}}}}})",
          R"({"layers": {"0": {"experts": {"0-7": {"op": "L", "a": 1}}}, "1-3": {"experts": {"0-3": {"op": "L", "a": 2}, "4-7": {"op": "L", "a": 1}}}}})"),
      ElementsAre("layers.1-3.experts.0-3.a: 1 -> 2"));
}

TEST(Diff, AnOperatorOfOneConfigOnlySaysOfWhich) {
  EXPECT_THAT(diff(R"({"layers": {"0-2": {"mlp": {"w1": {"op": "L"}}}}})",
                   R"({"layers": {"0-3": {"mlp": {"w1": {"op": "L"}, "w2": {"op": "L"}}}}, "head": {"op": "L", "a": 1}})"),
              ElementsAre("layers.0-3.mlp.w2: only in b.json (L)", "layers.3.mlp.w1: only in b.json (L)", "head: only in b.json (L)"));
  EXPECT_THAT(diff(R"({"layers": {"0-1": {"w": {"op": "L"}}}})", "{}"), ElementsAre("layers.0-1.w: only in a.json (L)"));
}

TEST(Diff, AnotherOperatorIsOneDifference) {
  EXPECT_THAT(diff(R"({"w": {"op": "Linear", "a": 1}})", R"({"w": {"op": "Mul", "b": 1}})"), ElementsAre("w.op: Linear -> Mul"));
}

TEST(Diff, AbsentFieldsAndNullsAreUnset) {
  EXPECT_THAT(diff(R"({"w": {"op": "L", "dtype": "a", "bias": null}})", R"({"w": {"op": "L", "program": {"width": 4, "0": 1}}})"),
              ElementsAre("w.dtype: a -> unset", "w.program.width: unset -> 4", "w.program.0: unset -> 1"));
  EXPECT_THAT(diff(R"({"w": {"op": "L", "bias": {}}})", R"({"w": {"op": "L"}})"), ElementsAre("w.bias: {} -> unset"));
}

TEST(Diff, ValuesOfAnotherTypeDifferEvenIfTheyLookTheSame) {
  EXPECT_THAT(diff(R"({"w": {"op": "L", "a": 4}})", R"({"w": {"op": "L", "a": "4"}})"),
              ElementsAre("w.a: an integer (4) -> a string (\"4\")"));
  EXPECT_THAT(diff(R"({"w": {"op": "L", "a": [1]}})", R"({"w": {"op": "L", "a": {"x": 1}}})"), ElementsAre("w.a: [1] -> {\"x\":1}"));
}

TEST(Diff, ComparesTheFrameOfTheFileToo) {
  EXPECT_THAT(diff(R"({"mode": "prefill", "mesh": "1x1", "device": {"num_cores": 8}})",
                   R"({"mode": "decode", "mesh": "1x1", "device": {"num_cores": 16}})"),
              ElementsAre("mode: prefill -> decode", "device.num_cores: 8 -> 16"));
}

TEST(Diff, RefusesPatternsThatOverlap) {
  EXPECT_THROW(diff(R"({"layers": {"0-1": {"w": {"op": "L"}}, "1": {"w": {"op": "L"}}}})", "{}"), ConfigError);
}

}  // namespace
}  // namespace meshseek

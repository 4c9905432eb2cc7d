#include "config/ranges.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "config/names.hpp"

namespace meshseek {
namespace {
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StrEq;
using ::testing::ThrowsMessage;

Tree json(const std::string& text) { return parse_json(text, "test"); }

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

std::string expansion_error(const std::string& text, std::int64_t num_layers) {
  return error_of([&] { expand_ranges(json(text), num_layers, "model.layers"); });
}

TEST(Ranges, ReadsSingleLayersAndRanges) {
  EXPECT_EQ(parse_range("7", "t"), (RangePattern{7, 7}));
  EXPECT_EQ(parse_range("0-31", "t"), (RangePattern{0, 31}));
  EXPECT_EQ(parse_range("4-4", "t"), (RangePattern{4, 4}));
  EXPECT_EQ(to_string(RangePattern{7, 7}), "7");
  EXPECT_EQ(to_string(RangePattern{0, 31}), "0-31");
}

TEST(Ranges, RefusesMalformedPatterns) {
  for (const char* pattern : {"", "-", "-1", "1-", "1--2", "01", "0-01", "+1", "1 - 2", " 1", "1-2-3", "a", "1,2", "0x1",
                              "99999999999999999999", "16384", "1-*"}) {
    EXPECT_THAT(error_of([&] { parse_range(pattern, "model.layers"); }), HasSubstr("[model.layers] the key \"")) << pattern;
  }
  EXPECT_EQ(error_of([] { parse_range("5-3", "model.layers"); }), "[model.layers] the range \"5-3\" is reversed; write \"3-5\"");
}

TEST(Ranges, ALayerListIsAnObjectOfPatternsOnly) {
  EXPECT_TRUE(is_layer_list(json(R"({"0-2": 1, "3": 2})")));
  EXPECT_FALSE(is_layer_list(json(R"({"0-2": 1, "w1": 2})")));
  EXPECT_FALSE(is_layer_list(json("{}")));
  EXPECT_FALSE(is_layer_list(json("[1]")));
  EXPECT_FALSE(is_layer_list(json(R"({"-": 1})")));
}

TEST(Ranges, PatternsThatDefineDifferentOperatorsAreMerged) {
  // The example of the design: three patterns, no operator twice.
  const Tree list = json(R"({"0-3": {"mlp": {"w1": {"op": "Linear", "a": 1}}}, "0-1": {"attention": {"wq": {"op": "Linear", "a": 2}}},
                             "2-3": {"attention": {"wq": {"op": "Linear", "a": 3}}}, "2": {"mlp": {"special": {"op": "Mul"}}}})");
  const Tree expanded = expand_ranges(list, 4, "model.layers");
  EXPECT_EQ(*expanded.find("0"), json(R"({"mlp": {"w1": {"op": "Linear", "a": 1}}, "attention": {"wq": {"op": "Linear", "a": 2}}})"));
  EXPECT_EQ(*expanded.find("2"), json(R"({"mlp": {"w1": {"op": "Linear", "a": 1}, "special": {"op": "Mul"}},
                                          "attention": {"wq": {"op": "Linear", "a": 3}}})"));
  EXPECT_EQ(expanded.as_object("").size(), 4u);
}

TEST(Ranges, AnOverlapNamesBothPatternsTheLayerAndThePath) {
  EXPECT_EQ(expansion_error(R"({"0-31": {"mlp": {"w1": {"op": "Linear"}}}, "10": {"mlp": {"w1": {"op": "Linear"}}}})", 32),
            "[model.layers.10.mlp.w1] the patterns \"0-31\" and \"10\" both define it for layer 10; "
            "make the ranges disjoint, or change single fields with an overlay");
}

TEST(Ranges, AnyLeafDefinedTwiceIsAnOverlap) {
  const std::string expected = "[model.layers.1.m.w] the patterns \"0-1\" and \"1-2\"";
  for (const char* leaf : {"1", "\"a.bin\"", "null", "[1]", R"({"op": "Mul"})", R"({"path": "a.bin"})"}) {
    EXPECT_THAT(expansion_error(fmt::format(R"({{"0-1": {{"m": {{"w": {0}}}}}, "1-2": {{"m": {{"w": {0}}}}}}})", leaf), 3),
                HasSubstr(expected));
    EXPECT_THAT(expansion_error(fmt::format(R"({{"0-1": {{"m": {{"w": {}}}}}, "1-2": {{"m": {{"w": {{"x": 1}}}}}}}})", leaf), 3),
                HasSubstr(expected));
  }
}

TEST(Ranges, ThePatternNamedIsTheOneThatDefinedTheLeaf) {
  EXPECT_THAT(expansion_error(R"({"0-3": {"a": 1}, "0-1": {"b": 1}, "1": {"b": 2}})", 4),
              HasSubstr("[model.layers.1.b] the patterns \"0-1\" and \"1\""));
}

TEST(Ranges, RefusesWhatDoesNotFitTheLayerCount) {
  EXPECT_EQ(expansion_error(R"({"0-3": {}})", 3), "[model.layers] the pattern \"0-3\" names layer 3, but there are 3 layers (0 to 2)");
  EXPECT_EQ(expansion_error(R"({"0": {}, "2-3": {}})", 4), "[model.layers] no pattern covers layer 1; add \"1\" or widen a range");
  EXPECT_THAT(expansion_error("{}", 1), HasSubstr("no pattern covers layer 0"));
  EXPECT_EQ(expansion_error("{}", 0), "accepted");
  EXPECT_THAT(expansion_error("{}", -1), HasSubstr("a list of -1 layers"));
}

TEST(Ranges, NestedRangesCannotExhaustMemory) {
  const Tree bomb = json(R"({"0-1023": {"experts": {"0-1023": {"experts": {"0-1023": 1}}}}})");
  EXPECT_THAT(error_of([&] { expand_tree(bomb); }), HasSubstr("expand to more than 524288 values"));
}

TEST(Ranges, CheckingListsCountsNestedRangesWithoutOverflow) {
  const Tree bomb = json(R"({"0-1023": {"0-1023": {"0-1023": {"0-1023": {"0-1023": {"0-1023": 1}}}}}})");
  EXPECT_THAT(error_of([&] { check_layer_lists(bomb, {}, "model"); }), HasSubstr("expand to more than 524288 values"));
}

TEST(Ranges, CheckingListsCountsEmptyObjects) {
  const Tree bomb = json(R"({"0-1023": {"0-1023": {}}})");
  EXPECT_THAT(error_of([&] { check_layer_lists(bomb, {}, "model"); }), HasSubstr("expand to more than 524288 values"));
}

TEST(Ranges, AListHasAtMost1024Layers) {
  EXPECT_EQ(expansion_error(R"({"0-1023": {}})", 1024), "accepted");
  EXPECT_THAT(expansion_error(R"({"0-1024": {}})", 1025),
              HasSubstr("the key \"0-1024\" is no range of layers; expected \"7\" or \"0-31\" (below 1024"));
  EXPECT_THAT(expansion_error(R"({"0-1023": {}})", 1025), HasSubstr("a list of 1025 layers; expected 0 to 1024"));
}

TEST(Ranges, LongTextsAndKeysThatAreRepeatedCountAsSeveralValues) {
  const std::string text(40'000, 'x');
  for (const Tree& bomb : {json(R"({"0-1023": ")" + text + R"("})"), json(R"({"0-1023": {")" + text + R"(": 1}})")}) {
    EXPECT_THAT(error_of([&] { expand_tree(bomb); }), HasSubstr("expand to more than 524288 values"));
    EXPECT_THAT(error_of([&] { check_layer_lists(bomb, {}, "model"); }), HasSubstr("expand to more than 524288 values"));
  }
}

TEST(Ranges, ManyPatternsOverOneLayerAreMergedAndAnOverlapNamesTheTwoThatOverlap) {
  Tree patterns;
  for (int idx = 0; idx < 100; ++idx) patterns.set("0-" + std::to_string(idx), json(R"({"w)" + std::to_string(idx) + R"(": 1})"));
  EXPECT_EQ(keys_of(*expand_tree(patterns).find("0")).size(), 100);
  patterns.set("0-100", json(R"({"w70": 1})"));
  EXPECT_THAT(error_of([&] { expand_tree(patterns); }), AllOf(HasSubstr("0.w70"), HasSubstr("\"0-70\" and \"0-100\"")));
}

TEST(Ranges, ExpandsListsInsideLists) {
  const Tree expanded = expand_tree(json(R"({"model": {"layers": {"0-1": {"experts": {"0-1": {"op": "A"}, "2": {"op": "B"}}}}}})"));
  const Tree* experts = expanded.find("model")->find("layers")->find("1")->find("experts");
  EXPECT_EQ(to_json_line(*experts), R"({"0":{"op":"A"},"1":{"op":"A"},"2":{"op":"B"}})");
}

TEST(Ranges, TwoPatternsMayAddDifferentElementsToTheListOfOneLayer) {
  const Tree tree = json(
      R"({"layers": {"0-1": {"experts": {"0-1": {"w": {"op": "A"}}}}, "1": {"experts": {"2": {"w": {"op": "B"}}, "0": {"v": {"op": "C"}}}}}})");
  check_layer_lists(tree, {}, "");
  const Tree expanded = expand_tree(tree);
  EXPECT_EQ(to_json_line(*expanded.find("layers")->find("0")->find("experts")), R"({"0":{"w":{"op":"A"}},"1":{"w":{"op":"A"}}})");
  EXPECT_EQ(to_json_line(*expanded.find("layers")->find("1")->find("experts")),
            R"({"0":{"w":{"op":"A"},"v":{"op":"C"}},"1":{"w":{"op":"A"}},"2":{"w":{"op":"B"}}})");
}

TEST(Ranges, AnOverlapInAListInsideAListIsReportedWhicheverPatternsItComesFrom) {
  const auto error = [](const char* text) { return error_of([&] { expand_tree(json(text)); }); };
  // In one layer's list, in the lists of two patterns, and under the same inner pattern.
  EXPECT_THAT(error(R"({"layers": {"0-1": {"experts": {"0-3": {"w": {"op": "A"}}, "2": {"w": {"op": "A"}}}}}})"),
              HasSubstr("[layers.0.experts.2.w] the patterns \"0-3\" and \"2\" both define it for layer 2"));
  EXPECT_THAT(error(R"({"layers": {"0-1": {"experts": {"0-3": {"w": {"op": "A"}}}}, "1": {"experts": {"2-3": {"w": {"op": "A"}}}}}})"),
              HasSubstr("[layers.1.experts.2.w] the patterns \"0-3\" and \"2-3\" both define it for layer 2"));
  EXPECT_THAT(error(R"({"layers": {"0-1": {"experts": {"0-3": {"w": {"op": "A"}}}}, "1": {"experts": {"0-3": {"w": {"op": "A"}}}}}})"),
              HasSubstr("[layers.1.experts.0-3.w] the patterns \"0-1\" and \"1\" both define it for layer 1"));
}

TEST(Ranges, TheCallerMayKnowTheNumberOfElements) {
  const LayerCounts counts = [](std::string_view path) -> std::optional<std::int64_t> {
    if (path == "model.layers") return 2;
    if (path == "model.layers.1.experts") return 3;
    return std::nullopt;
  };
  const auto error = [&](const char* text) { return error_of([&] { expand_tree(json(text), counts); }); };
  EXPECT_EQ(error(R"({"model": {"layers": {"0": {}, "1": {"experts": {"0-2": 1}}}}})"), "accepted");
  EXPECT_THAT(error(R"({"model": {"layers": {"0": {}}}})"), HasSubstr("[model.layers] no pattern covers layer 1"));
  EXPECT_THAT(error(R"({"model": {"layers": {}}})"), HasSubstr("[model.layers] no pattern covers layer 0"));
  EXPECT_THAT(error(R"({"model": {"layers": {"0-2": {}}}})"), HasSubstr("there are 2 layers"));
  EXPECT_THAT(error(R"({"model": {"layers": {"0-1": {"experts": {"0-1": 1}}}}})"),
              HasSubstr("[model.layers.1.experts] no pattern covers layer 2"));
  EXPECT_THAT(error(R"({"model": {"layers": {"first": {}}}})"), HasSubstr("[model.layers] the key \"first\" is no range"));
}

TEST(Ranges, LeavesAreNotLookedInto) {
  const Tree tree = json(R"({"w1": {"op": "Linear", "table": {"0-1": 2}}, "w2": {"path": "x", "table": {"0-1": 2}}})");
  EXPECT_EQ(expand_tree(tree), tree);
  EXPECT_EQ(fold_ranges(tree), tree);
}

TEST(Ranges, TheLayerIsPutIntoPathsOnlyWhenAsked) {
  const Tree tree = json(R"({"layers": {"0-1": {"w1": {"input_tensor_b": {"path": "l/{layer}/{layer}.bin", "dtype": "{layer}"}},
                             "w2": {"input_tensor_b": "l/{layer}.bin"}, "experts": {"0-1": {"w": {"path": "{layer}"}}}}},
                             "x": {"path": "{layer}"}})");
  const Tree kept = expand_tree(tree);
  EXPECT_EQ(kept.find("layers")->find("1")->find("w2")->find("input_tensor_b")->as_string(""), "l/{layer}.bin");
  const Tree expanded = expand_tree(tree, {}, LayerPlaceholder::substitute);
  const Tree* layer = expanded.find("layers")->find("1");
  EXPECT_EQ(to_json_line(*layer->find("w1")->find("input_tensor_b")), R"({"path":"l/1/1.bin","dtype":"{layer}"})");
  EXPECT_EQ(layer->find("w2")->find("input_tensor_b")->as_string(""), "l/1.bin");
  EXPECT_EQ(layer->find("experts")->find("0")->find("w")->find("path")->as_string(""), "1");
  EXPECT_EQ(expanded.find("x")->find("path")->as_string(""), "{layer}");
}

TEST(Ranges, FoldingMakesTheLongestRuns) {
  EXPECT_EQ(to_json_line(fold_ranges(json(R"({"0": 1, "1": 1, "2": 1, "3": 2, "4": 1})"))), R"({"0-2":1,"3":2,"4":1})");
}

}  // namespace
}  // namespace meshseek

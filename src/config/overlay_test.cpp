#include "config/overlay.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.hpp"
#include "config/ranges.hpp"

namespace meshseek {
namespace {
using ::testing::HasSubstr;
using ::testing::StartsWith;

Tree json(const std::string& text) { return parse_json(text, "test"); }

Tree sample() {
  return expand_tree(json(R"({"format_version": 1, "model": {"head": {"op": "Linear", "dtype": "float32"}, "layers": {
      "0-2": {"mlp": {"w1": {"op": "Linear", "dtype": "bfloat16", "compute": {"fidelity": "HiFi2"}},
                      "mul": {"op": "Mul", "dtype": "bfloat16"}}},
      "3": {"moe": {"w1": {"op": "Linear", "dtype": "bfloat16", "program_config": {"in0_block_w": 1, "grid": [8, 8]}}}}}}})"));
}

const Tree& at(const Tree& tree, std::string_view path) {
  const std::size_t dot = path.find('.');
  const Tree* member = tree.find(path.substr(0, dot));
  if (!member) throw ConfigError("[test] no " + std::string(path));
  return dot == std::string_view::npos ? *member : at(*member, path.substr(dot + 1));
}

Tree set(std::string_view assignment) {
  Tree tree = sample();
  apply_set(tree, assignment);
  return tree;
}

Tree overlaid(const std::string& overlay) {
  Tree tree = sample();
  apply_overlay(tree, json(overlay));
  return tree;
}

/// The message; also checks that the tree is unchanged.
std::string set_error(std::string_view assignment) {
  Tree tree = sample();
  try {
    apply_set(tree, assignment);
  } catch (const ConfigError& error) {
    EXPECT_EQ(tree, sample());
    return error.what();
  }
  return "accepted";
}

std::string overlay_error(const std::string& overlay) {
  Tree tree = sample();
  try {
    apply_overlay(tree, json(overlay));
  } catch (const ConfigError& error) {
    EXPECT_EQ(tree, sample());
    return error.what();
  }
  return "accepted";
}

TEST(Set, RefusesAPathDeeperThanATreeMayBe) {
  std::string path = "model.head.compute";
  for (int depth = 3; depth < kMaxTreeDepth; ++depth) path += ".x";
  EXPECT_EQ(set_error(path + "=1"), "accepted");
  EXPECT_THAT(set_error(path + ".x=1"), HasSubstr("the path has 201 names; expected at most 200"));
}

TEST(Set, ChangesOneFieldAndNothingElse) {
  Tree changed = set("model.layers.3.moe.w1.program_config.in0_block_w=4");
  EXPECT_EQ(at(changed, "model.layers.3.moe.w1.program_config.in0_block_w"), Tree(4));
  apply_set(changed, "model.layers.3.moe.w1.program_config.in0_block_w=1");
  EXPECT_EQ(changed, sample());
}

TEST(Set, ReadsTheValueAsJsonOrElseAsAString) {
  EXPECT_EQ(at(set("model.head.dtype=bfloat8_b"), "model.head.dtype"), Tree("bfloat8_b"));
  EXPECT_EQ(at(set("model.head.dtype=\"a=b\""), "model.head.dtype"), Tree("a=b"));
  EXPECT_EQ(at(set("model.head.dtype=a=b"), "model.head.dtype"), Tree("a=b"));
  EXPECT_EQ(at(set("model.head.dtype="), "model.head.dtype"), Tree(""));
  EXPECT_EQ(at(set("model.head.dtype=null"), "model.head.dtype"), Tree());
  EXPECT_EQ(at(set("model.head.dtype=2.0"), "model.head.dtype"), Tree(2.0));
  EXPECT_EQ(at(set("model.layers.3.moe.w1.program_config.grid=[4, 2]"), "model.layers.3.moe.w1.program_config.grid"), json("[4, 2]"));
  EXPECT_THAT(set_error("model.head.dtype={\"a\": }"), StartsWith("[--set model.head.dtype:1:"));
}

TEST(Set, AnExactPathMayAddAnOptionalFieldOfAnOperator) {
  EXPECT_EQ(at(set("model.head.bias=true"), "model.head.bias"), Tree(true));
  EXPECT_EQ(at(set("model.layers.0.mlp.w1.program_config.in0_block_w=4"), "model.layers.0.mlp.w1.program_config"),
            json(R"({"in0_block_w": 4})"));
  EXPECT_EQ(at(set("model.layers.0.mlp.w1.program_config={\"a\": 1}"), "model.layers.0.mlp.w1.program_config.a"), Tree(1));
}

TEST(Set, AStarMatchesOneNameAndTwoMatchAnyNumber) {
  const Tree one = set("model.layers.*.mlp.w1.dtype=float32");
  for (const char* layer : {"0", "1", "2"}) {
    EXPECT_EQ(at(one, "model.layers." + std::string(layer) + ".mlp.w1.dtype"), Tree("float32"));
    EXPECT_EQ(at(one, "model.layers." + std::string(layer) + ".mlp.mul.dtype"), Tree("bfloat16"));
  }
  EXPECT_EQ(at(one, "model.layers.3.moe.w1.dtype"), Tree("bfloat16"));
  const Tree any = set("**.w1.dtype=float32");
  EXPECT_EQ(at(any, "model.layers.1.mlp.w1.dtype"), Tree("float32"));
  EXPECT_EQ(at(any, "model.layers.3.moe.w1.dtype"), Tree("float32"));
  EXPECT_EQ(at(any, "model.layers.1.mlp.mul.dtype"), Tree("bfloat16"));
  EXPECT_EQ(set("**.model.**.w1.**.dtype=float32"), any);
  EXPECT_EQ(at(set("**.dtype=x"), "model.head.dtype"), Tree("x"));
}

TEST(Set, AWildcardPathOnlyChangesFieldsThatAreThere) {
  const Tree tree = set("**.w1.program_config.in0_block_w=4");
  EXPECT_EQ(at(tree, "model.layers.3.moe.w1.program_config.in0_block_w"), Tree(4));
  EXPECT_EQ(at(tree, "model.layers.0.mlp.w1").find("program_config"), nullptr);
  EXPECT_EQ(set_error("model.layers.*.mlp.w1.dtpye=float32"),
            "[--set model.layers.*.mlp.w1.dtpye=float32] nothing matches \"dtpye\"; did you mean \"dtype\"? known: op, dtype, compute");
}

TEST(Set, AWildcardMayMatchAValueInsideAnother) {
  Tree tree = json(R"({"w": {"op": "X", "a": {"a": {"a": 1}}}})");
  apply_set(tree, "**.a=2");
  EXPECT_EQ(tree, json(R"({"w": {"op": "X", "a": 2}})"));
}

TEST(Set, APathThatMatchesNothingNamesTheNearestName) {
  EXPECT_EQ(set_error("model.layers.2.mpl.w1.dtype=x"),
            "[model.layers.2] there is no \"mpl\" to change here; did you mean \"mlp\"? known: mlp");
  EXPECT_EQ(set_error("modle.head.dtype=x"),
            "[config] there is no \"modle\" to change here; did you mean \"model\"? known: format_version, model");
  EXPECT_THAT(set_error("model.layers.9.mlp.w1.dtype=x"), HasSubstr("[model.layers] there is no \"9\" to change here"));
  EXPECT_THAT(set_error("**.w9.dtype=x"), HasSubstr("nothing matches \"w9\"; did you mean \"w1\"?"));
}

TEST(Set, RefusesAStepThroughWhatIsNoObject) {
  EXPECT_EQ(set_error("model.head.dtype.x=1"), "[model.head.dtype.x] expected an object, got a string (\"float32\")");
  EXPECT_THAT(set_error("model.layers.3.moe.w1.program_config.grid.0=1"), HasSubstr("expected an object, got an array of 2"));
  EXPECT_THAT(set_error("format_version.x.y=1"), HasSubstr("expected an object, got an integer (1)"));
}

TEST(Set, RefusesToReplaceOrRenameOperators) {
  EXPECT_THAT(set_error("model.layers.0.mlp.w1=1"), HasSubstr("[model.layers.0.mlp.w1] an overlay cannot replace operators"));
  EXPECT_THAT(set_error("model.layers.0=1"), HasSubstr("cannot replace operators"));
  EXPECT_THAT(set_error("**.mlp=1"), HasSubstr("cannot replace operators"));
  EXPECT_THAT(set_error("model.head.op=Mul"), HasSubstr("[model.head.op] an overlay cannot change which operator this is"));
  EXPECT_THAT(set_error("**.op=Mul"), HasSubstr("cannot change which operator"));
  EXPECT_THAT(set_error("model.layers.0.mlp.w9={\"op\": \"Mul\"}"), HasSubstr("there is no \"w9\""));
}

TEST(Set, RefusesMalformedAssignments) {
  EXPECT_THAT(set_error("model.head.dtype"), HasSubstr("\"=\" is missing"));
  EXPECT_THAT(set_error("=1"), HasSubstr("an empty name"));
  EXPECT_THAT(set_error("model..dtype=1"), HasSubstr("an empty name"));
  EXPECT_THAT(set_error("model.=1"), HasSubstr("an empty name"));
  EXPECT_THAT(set_error("model.head.*=1"), HasSubstr("ends in a wildcard"));
  EXPECT_THAT(set_error("**=1"), HasSubstr("ends in a wildcard"));
}

TEST(Overlay, ChangesFieldsThroughRangePatterns) {
  const Tree tree = overlaid(R"({"model": {"layers": {"0-1": {"mlp": {"w1": {"dtype": "float32", "compute": {"fidelity": "LoFi"}}}},
                                                      "3": {"moe": {"w1": {"program_config": {"in0_block_w": 4}}}}}}})");
  EXPECT_EQ(at(tree, "model.layers.0.mlp.w1"), json(R"({"op": "Linear", "dtype": "float32", "compute": {"fidelity": "LoFi"}})"));
  EXPECT_EQ(at(tree, "model.layers.1.mlp.w1"), at(tree, "model.layers.0.mlp.w1"));
  EXPECT_EQ(at(tree, "model.layers.2"), at(sample(), "model.layers.2"));
  EXPECT_EQ(at(tree, "model.layers.3.moe.w1.program_config"), json(R"({"in0_block_w": 4, "grid": [8, 8]})"));
}

TEST(Overlay, EqualsTheAssignmentsItStandsFor) {
  Tree assigned = sample();
  for (const char* layer : {"0", "1", "2"})
    apply_set(assigned, "model.layers." + std::string(layer) + ".mlp.w1.program_config.in0_block_w=4");
  EXPECT_EQ(overlaid(R"({"model": {"layers": {"0-2": {"mlp": {"w1": {"program_config": {"in0_block_w": 4}}}}}}})"), assigned);
}

TEST(Overlay, LaterPatternsWin) {
  const Tree tree = overlaid(R"({"model": {"layers": {"0-2": {"mlp": {"w1": {"dtype": "a"}}}, "1": {"mlp": {"w1": {"dtype": "b"}}}}}})");
  EXPECT_EQ(at(tree, "model.layers.0.mlp.w1.dtype"), Tree("a"));
  EXPECT_EQ(at(tree, "model.layers.1.mlp.w1.dtype"), Tree("b"));
}

TEST(Overlay, MayRepeatTheNameOfTheOperator) {
  EXPECT_EQ(overlaid(R"({"model": {"head": {"op": "Linear"}}})"), sample());
  EXPECT_THAT(overlay_error(R"({"model": {"head": {"op": "Mul"}}})"), HasSubstr("[model.head.op] an overlay cannot change which operator"));
}

TEST(Overlay, MayAddAnOptionalFieldAndUnsetOne) {
  EXPECT_EQ(at(overlaid(R"({"model": {"head": {"bias": true, "dtype": null}}})"), "model.head"),
            json(R"({"op": "Linear", "dtype": null, "bias": true})"));
}

TEST(Overlay, AnEmptyOverlayChangesNothing) { EXPECT_EQ(overlaid("{}"), sample()); }

TEST(Overlay, RefusesUnknownPaths) {
  EXPECT_EQ(overlay_error(R"({"model": {"haed": {"dtype": "x"}}})"),
            "[model] there is no \"haed\" to change here; did you mean \"head\"? known: head, layers");
  EXPECT_THAT(overlay_error(R"({"model": {"layers": {"0-3": {"mlp": {"w1": {"dtype": "x"}}}}}})"),
              HasSubstr("[model.layers.3] there is no \"mlp\""));
  EXPECT_EQ(overlay_error(R"({"model": {"layers": {"2-4": {}}}})"),
            "[model.layers] the pattern \"2-4\" names layer 4, but the list has 4 layers");
  EXPECT_THAT(overlay_error(R"({"model": {"layers": {"last": {}}}})"), HasSubstr("[model.layers] the key \"last\" is no range"));
  EXPECT_THAT(overlay_error(R"({"format_version": {"x": 1}})"), HasSubstr("[format_version] expected an object"));
  EXPECT_THAT(overlay_error("[]"), HasSubstr("[config] expected an object"));
}

TEST(Overlay, RefusesToReplaceOperators) {
  EXPECT_THAT(overlay_error(R"({"model": {"head": 1}})"), HasSubstr("[model.head] an overlay cannot replace operators"));
  EXPECT_THAT(overlay_error(R"({"model": {"layers": []}})"), HasSubstr("[model.layers] an overlay cannot replace operators"));
  EXPECT_THAT(overlay_error(R"({"model": {"layers": {"0": null}}})"), HasSubstr("[model.layers.0] an overlay cannot replace operators"));
}

}  // namespace
}  // namespace meshseek

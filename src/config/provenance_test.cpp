#include "config/provenance.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <regex>

#include "config/names.hpp"
#include "config/overlay.hpp"
#include "config/ranges.hpp"
#include "config/unset_fields.hpp"

namespace meshseek {
namespace {
using ::testing::ElementsAre;
using ::testing::Optional;

Tree json(const std::string& text) { return parse_json(text, "test"); }

Tree file() {
  return json(R"({"model": {"head": {"op": "Linear", "dtype": "float32"}, "layers": {
      "0-2": {"w1": {"op": "Linear", "dtype": "bfloat16", "program": {"width": 1}, "grid": {"0": 1}}, "experts": {"0-1": {"op": "A", "x": 1}}},
      "1": {"w2": {"op": "Linear", "dtype": "a"}}, "2": {"experts": {"2": {"op": "A", "x": [1, 2]}}}}}})");
}

TEST(Provenance, AFieldOfAFileNamesTheRangePatternThatDefinedIt) {
  const Provenance provenance = Provenance::of_file(file(), "a.json");
  EXPECT_THAT(provenance.source_of("model.head.dtype"), Optional(std::string("a.json")));
  EXPECT_THAT(provenance.source_of("model.layers.2.w1.dtype"), Optional(std::string("pattern \"0-2\" of a.json")));
  EXPECT_THAT(provenance.source_of("model.layers.1.w2.dtype"), Optional(std::string("pattern \"1\" of a.json")));
  EXPECT_THAT(provenance.source_of("model.layers.2.w1.program.width"), Optional(std::string("pattern \"0-2\" of a.json")));
}

TEST(Provenance, AFieldInAListInsideAListNamesBothPatterns) {
  const Provenance provenance = Provenance::of_file(file(), "a.json");
  EXPECT_THAT(provenance.source_of("model.layers.2.experts.1.x"), Optional(std::string("patterns \"0-2\" / \"0-1\" of a.json")));
  EXPECT_THAT(provenance.source_of("model.layers.2.experts.2.x"), Optional(std::string("patterns \"2\" / \"2\" of a.json")));
}

TEST(Provenance, NumbersAsNamesInsideAnOperatorAreNoPatterns) {
  EXPECT_THAT(Provenance::of_file(file(), "a.json").source_of("model.layers.0.w1.grid.0"),
              Optional(std::string("pattern \"0-2\" of a.json")));
}

TEST(Provenance, WhatNobodySetHasNoSource) {
  const Provenance provenance = Provenance::of_file(file(), "a.json");
  for (const char* path : {"model.head.bias", "model.layers.3.w1.dtype", "model.layers.0", "model.head.dtype.x"}) {
    EXPECT_EQ(provenance.source_of(path), std::nullopt) << path;
  }
}

TEST(Provenance, TheLastOverlayOrAssignmentOfAFieldIsItsSource) {
  Provenance provenance = Provenance::of_file(file(), "a.json");
  provenance.overlay(
      json(R"({"model": {"head": {"op": "Linear", "dtype": "float32"}, "layers": {"0-1": {"w1": {"program": {"width": 2}}}}}})"),
      "overlay b.json");
  provenance.set("model.layers.*.w1.dtype=bfloat16", "--set all");
  provenance.set("model.layers.1.w1.program={\"width\": 4, \"depth\": 5}", "--set one");
  // The overlay repeats a value: who said it last is the source, whether or not the value changed.
  EXPECT_THAT(provenance.source_of("model.head.dtype"), Optional(std::string("overlay b.json")));
  EXPECT_THAT(provenance.source_of("model.layers.0.w1.program.width"), Optional(std::string("pattern \"0-1\" of overlay b.json")));
  EXPECT_THAT(provenance.source_of("model.layers.1.w1.program.width"), Optional(std::string("--set one")));
  EXPECT_THAT(provenance.source_of("model.layers.1.w1.program.depth"), Optional(std::string("--set one")));
  EXPECT_THAT(provenance.source_of("model.layers.2.w1.program.width"), Optional(std::string("pattern \"0-2\" of a.json")));
  EXPECT_THAT(provenance.source_of("model.layers.2.w1.dtype"), Optional(std::string("--set all")));
  EXPECT_THAT(provenance.source_of("model.layers.1.w2.dtype"), Optional(std::string("pattern \"1\" of a.json")));
}

TEST(Provenance, AFieldThatAnAssignmentUnsetsKeepsItsSource) {
  Provenance provenance = Provenance::of_file(file(), "a.json");
  provenance.set("model.head.dtype=null", "--set null");
  EXPECT_THAT(provenance.source_of("model.head.dtype"), Optional(std::string("--set null")));
}

TEST(Provenance, AComputedChangeIsTheSourceOfTheFieldsThatDifferOnly) {
  const Tree before = expand_tree(file());
  Tree after = before;
  apply_set(after, "model.layers.2.w1.program.width=9");
  Provenance provenance = Provenance::of(before, "default");
  provenance.changes(before, after, [](const std::string& path) { return "rule for " + path; });
  EXPECT_THAT(provenance.source_of("model.layers.2.w1.program.width"), Optional(std::string("rule for model.layers.2.w1.program.width")));
  EXPECT_THAT(provenance.source_of("model.layers.2.w1.dtype"), Optional(std::string("default")));
  EXPECT_THAT(provenance.source_of("model.layers.1.w1.program.width"), Optional(std::string("default")));
}

/// Calls visit(path, value) for every value that is no object.
template <class Visit>
void visit_leaves(const Tree& tree, const std::string& path, Visit&& visit) {
  if (!tree.is_object()) return visit(path, tree);
  for (const auto& [key, value] : tree.as_object(path)) {
    if (key != "op") visit_leaves(value, join_path(path, key), visit);
  }
}

TEST(Provenance, RandomChangesAreAttributedToTheStepThatMadeThem) {
  const std::vector<std::string> paths = {"model.layers.*.w1.dtype", "model.layers.1.w1.dtype",    "model.layers.0.w1.program.width",
                                          "**.program.width",        "model.layers.2.experts.*.x", "**.x",
                                          "model.head.bias",         "model.head.group.a",         "model.layers.*.experts.1.x",
                                          "model.layers.1.w2.dtype", "model.head.group.b"};
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Tree config = expand_tree(file());
    Provenance provenance = Provenance::of_file(file(), "a.json");
    for (int step = 0; step < 8; ++step) {
      // Each step writes its own name as the value.
      const std::string name = "step " + std::to_string(step);
      if (random() % 3 == 0) {
        const Tree overlay =
            json(R"({"model": {"head": {"dtype": "NAME"}, "layers": {"1": {"w1": {"program": {"width": "NAME", "NAME": "NAME"}}}}}})");
        const Tree named = json(std::regex_replace(to_json(overlay), std::regex("NAME"), name));
        apply_overlay(config, named);
        provenance.overlay(named, name);
      } else {
        const std::string assignment = paths[random() % paths.size()] + "=" + name;
        apply_set(config, assignment);
        provenance.set(assignment, name);
      }
    }
    visit_leaves(config, "", [&](const std::string& path, const Tree& value) {
      const auto source = provenance.source_of(path);
      ASSERT_TRUE(source.has_value()) << path;
      const bool is_changed = value.is_string() && value.as_string(path).starts_with("step ");
      const std::string last = is_changed ? value.as_string(path) : "a.json";
      EXPECT_TRUE(*source == last || (source->starts_with("pattern") && source->ends_with(" of " + last))) << path << ": " << *source;
    });
  }
}

struct Inner {
  static constexpr std::string_view kOp = "Inner";
  std::optional<int> a = {};
  std::optional<int> b = 1;
  static constexpr auto fields() { return std::tuple{field("a", &Inner::a, ""), field("b", &Inner::b, "")}; }
};
struct Outer {
  std::optional<Inner> none = {};
  std::optional<Inner> one = Inner{};
  std::vector<Inner> list = std::vector<Inner>(2);
  static constexpr auto fields() {
    return std::tuple{field("none", &Outer::none, ""), field("one", &Outer::one, ""), field("list", &Outer::list, "")};
  }
};

TEST(UnsetFields, AreFoundAtEveryDepthAndNothingElseIs) {
  std::vector<std::string> paths;
  for_each_unset_field(Outer{}, "m", [&](const std::string& path) { paths.push_back(path); });
  EXPECT_THAT(paths, ElementsAre("m.none", "m.one.a", "m.list.0.a", "m.list.1.a"));
}

TEST(FindPath, WalksDottedNames) {
  const Tree tree = json(R"({"a": {"b": {"c": 1}}})");
  EXPECT_EQ(*find_path(tree, "a.b.c"), Tree(1));
  EXPECT_EQ(find_path(tree, ""), &tree);
  EXPECT_EQ(find_path(tree, "a.x.c"), nullptr);
}

}  // namespace
}  // namespace meshseek

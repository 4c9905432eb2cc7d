// Properties of range patterns over random trees: modules, operators, lists inside lists, each operator with ranges of its own.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <regex>
#include <vector>

#include "base/error.hpp"
#include "config/names.hpp"
#include "config/ranges.hpp"

namespace meshseek {
namespace {

/// A step of an operator's path: a name, or (num_elements > 0) an element of the list that the step before named.
struct Step {
  std::string name = {};
  std::int64_t num_elements = 0;
};
using OperatorPath = std::vector<Step>;

using Leaves = std::map<std::string, Tree>;  ///< by dotted path, e.g. layers.3.experts.0.w1

/// One random tree of non-overlapping patterns, and what it means, written down definition by definition.
class RandomConfig {
 public:
  explicit RandomConfig(std::mt19937_64& random, std::int64_t max_elements = 9) : random_(random), max_elements_(max_elements) {
    add_module({}, 3);
    tree_ = Tree(Tree::Object{});
    for (std::size_t i = 0; i < paths_.size(); ++i) define(tree_, paths_[i], 0, "", is_anchor_[i]);
    shuffle(tree_);
  }

  const Tree& tree() const { return tree_; }
  const Leaves& expected() const { return expected_; }

  /// Puts the patterns of every list, and the members of every module, in another order.
  void shuffle(Tree& tree) {
    if (!tree.is_object() || is_operator(tree)) return;
    std::shuffle(tree.object().begin(), tree.object().end(), random_);
    for (auto& member : tree.object()) shuffle(member.second);
  }

  std::int64_t below(std::int64_t limit) { return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(limit)); }

  /// A range around `index` in a spelling of its own: a single layer is "7" or "7-7".
  std::string range_around(std::int64_t index, std::int64_t num_elements) {
    const std::int64_t first = below(index + 1);
    return spelled({first, index + below(num_elements - index)});
  }

  const std::vector<OperatorPath>& paths() const { return paths_; }

 private:
  /// Operators and modules below a module. The first operator of a list's element covers the whole list, so that no element is left out.
  void add_module(const OperatorPath& path, int depth) {
    const std::int64_t num_children = 1 + below(3);
    add_operator(path, "w0", !path.empty() && path.back().num_elements > 0);
    for (std::int64_t i = 1; i <= num_children; ++i) {
      const std::int64_t kind = depth == 0 ? 0 : below(4);
      OperatorPath child = path;
      if (kind < 2) add_operator(path, fmt::format("w{}", i), false);
      if (kind >= 2) child.push_back({fmt::format("m{}", i), 0});
      if (kind == 3) child.push_back({"", 1 + below(max_elements_)});
      if (kind >= 2) add_module(child, depth - 1);
    }
  }

  void add_operator(OperatorPath path, const std::string& name, bool is_anchor) {
    path.push_back({name, 0});
    paths_.push_back(std::move(path));
    is_anchor_.push_back(is_anchor);
  }

  std::string spelled(const RangePattern& range) {
    return range.first == range.last && below(4) == 0 ? fmt::format("{0}-{0}", range.first) : to_string(range);
  }

  /// Defines the operator in every element of the lists on its way, each cut into ranges at random; leaves some out unless it is an anchor.
  void define(Tree& node, const OperatorPath& path, std::size_t step, const std::string& walked, bool is_anchor) {
    std::vector<std::string> prefixes = {walked};
    define_below(node, path, step, prefixes, is_anchor);
  }

  /// `prefixes`: the expanded paths that `node` stands for.
  void define_below(Tree& node, const OperatorPath& path, std::size_t step, const std::vector<std::string>& prefixes, bool is_anchor) {
    const auto [name, num_elements] = path[step];
    if (num_elements > 0) return define_elements(node, path, step, prefixes, is_anchor);
    std::vector<std::string> deeper;
    for (const std::string& prefix : prefixes) deeper.push_back(join_path(prefix, name));
    if (step + 1 < path.size()) return define_below(child(node, name), path, step + 1, deeper, is_anchor);
    const Tree leaf = random_leaf();
    node.set(name, leaf);
    for (const std::string& full : deeper)
      ASSERT_TRUE(expected_.emplace(full, leaf).second) << "the generator defines " << full << " twice";
  }

  void define_elements(Tree& node, const OperatorPath& path, std::size_t step, const std::vector<std::string>& prefixes, bool is_anchor) {
    const std::int64_t num_elements = path[step].num_elements;
    for (std::int64_t first = 0; first < num_elements;) {
      const std::int64_t last = std::min(num_elements - 1, first + below(5));
      std::vector<std::string> deeper;
      for (const std::string& prefix : prefixes) {
        for (std::int64_t element = first; element <= last; ++element) deeper.push_back(join_path(prefix, std::to_string(element)));
      }
      if (is_anchor || below(5) > 0) define_below(child(node, spelled({first, last})), path, step + 1, deeper, is_anchor);
      first = last + 1;
    }
  }

  static Tree& child(Tree& node, const std::string& name) {
    if (Tree* existing = node.find(name)) return *existing;
    return node.set(name, Tree(Tree::Object{}));
  }

  /// An operator; sometimes another kind of leaf. Few different ones, so that neighbours are often equal.
  Tree random_leaf() {
    switch (below(8)) {
      case 0:
        return Tree(below(2));
      case 1:
        return Tree(Tree::Array{Tree(1), Tree(below(2))});
      default: {
        Tree op;
        op.set("op", Tree("Linear"));
        op.set("a", Tree(below(2)));
        // Looks like a list but lies in a leaf.
        if (below(3) == 0) op.set("table", parse_json(R"({"0-1": 1})", "t"));
        return op;
      }
    }
  }

  std::mt19937_64& random_;
  std::int64_t max_elements_;
  std::vector<OperatorPath> paths_;
  std::vector<bool> is_anchor_;
  Tree tree_;
  Leaves expected_;
};

void collect_leaves(const Tree& tree, const std::string& path, Leaves& leaves) {
  if (!tree.is_object() || is_operator(tree)) {
    leaves.emplace(path, tree);
    return;
  }
  for (const auto& [key, value] : tree.as_object(path)) collect_leaves(value, join_path(path, key), leaves);
}

Leaves leaves_of(const Tree& tree) {
  Leaves leaves;
  collect_leaves(tree, "", leaves);
  return leaves;
}

/// Every list has the keys 0, 1, .. in order.
void expect_lists_in_order(const Tree& tree) {
  if (!tree.is_object() || is_operator(tree)) return;
  const bool is_list = is_layer_list(tree);
  std::int64_t index = 0;
  for (const auto& [key, value] : tree.as_object("")) {
    if (is_list) {
      ASSERT_EQ(key, std::to_string(index++));
    }
    expect_lists_in_order(value);
  }
}

/// Runs a property for many seeds; the seed of a failure is printed and is enough to repeat it.
template <class Property>
void for_seeds(std::uint64_t count, Property&& property) {
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    property(random);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RangesProperty, ExpansionEqualsWritingEveryDefinitionIntoEveryElement) {
  std::size_t num_nested = 0;
  for_seeds(400, [&](std::mt19937_64& random) {
    const RandomConfig config(random);
    const Tree expanded = expand_tree(config.tree());
    ASSERT_EQ(leaves_of(expanded), config.expected()) << to_json(config.tree());
    expect_lists_in_order(expanded);
    const auto is_nested = [](const OperatorPath& path) {
      return std::count_if(path.begin(), path.end(), [](const Step& step) { return step.num_elements > 0; }) > 1;
    };
    num_nested += std::any_of(config.paths().begin(), config.paths().end(), is_nested) ? 1U : 0U;
  });
  EXPECT_GT(num_nested, 50U);
}

TEST(RangesProperty, TheOrderOfPatternsDoesNotMatter) {
  for_seeds(200, [](std::mt19937_64& random) {
    RandomConfig config(random);
    Tree shuffled = config.tree();
    config.shuffle(shuffled);
    ASSERT_EQ(leaves_of(expand_tree(shuffled)), config.expected()) << to_json(config.tree());
  });
}

TEST(RangesProperty, FoldingThenExpandingIsTheIdentityAndTheTextIsStable) {
  std::size_t num_shorter = 0;
  for_seeds(400, [&](std::mt19937_64& random) {
    const Tree expanded = expand_tree(RandomConfig(random).tree());
    const Tree folded = fold_ranges(expanded);
    ASSERT_EQ(expand_tree(folded), expanded);
    ASSERT_EQ(fold_ranges(folded), folded);
    const std::string text = to_json(folded);
    ASSERT_EQ(to_json(fold_ranges(expand_tree(parse_json(text, "folded")))), text);
    num_shorter += text.size() < to_json(expanded).size() ? 1U : 0U;
  });
  EXPECT_GT(num_shorter, 100U);
}

/// Replaces each index or range in a dotted path by #.
std::string without_indices(const std::string& path) { return std::regex_replace(path, std::regex("\\.[0-9]+(-[0-9]+)?(?=\\.|$)"), ".#"); }

/// A dotted path as names; list elements are numbers.
std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> names;
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('.', start), path.size());
    names.push_back(path.substr(start, end - start));
    start = end + 1;
  }
  return names;
}

/// Defines one leaf that is there a second time: below other range patterns, in a list at least. \return its path; empty when that did not work out
std::string add_overlap(RandomConfig& config, Tree& tree) {
  const Leaves& leaves = config.expected();
  const std::string target = std::next(leaves.begin(), config.below(static_cast<std::int64_t>(leaves.size())))->first;
  const std::vector<std::string> names = split(target);
  Tree* node = &tree;
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    std::string key = names[i];
    if (key.find_first_not_of("0123456789") == std::string::npos) {
      const auto list_size = static_cast<std::int64_t>(count_layers(*node, "t"));
      const std::int64_t index = std::stoll(key);
      if (index >= list_size) return "";  // a list that this pattern has begun
      key = config.range_around(index, list_size);
    }
    Tree* existing = node->find(key);
    if (existing != nullptr && (!existing->is_object() || is_operator(*existing))) return "";
    node = existing != nullptr ? existing : &node->set(key, parse_json("{}", "t"));
  }
  if (node->find(names.back()) != nullptr) return "";
  constexpr const char* kValues[] = {R"({"op": "Linear", "a": 0})", R"({"op": "Mul"})",     "1", "null", "[1]", R"("a.bin")",
                                     R"({"path": "a.bin"})",        R"({"x": {"op": "A"}})"};
  node->set(names.back(), parse_json(kValues[config.below(std::size(kValues))], "t"));
  return target;
}

/// The message of the error that expansion must throw.
std::string overlap_error(const Tree& tree) {
  try {
    expand_tree(tree);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

void expect_overlap_reported(const Tree& tree, const std::string& target) {
  const std::string message = overlap_error(tree);
  static const std::regex kForm("\\[([^\\]]*)\\] the patterns \"[0-9-]+\" and \"[0-9-]+\" both define it for layer [0-9]+; .*");
  std::smatch match;
  ASSERT_TRUE(std::regex_match(message, match, kForm)) << message << "\n" << target << "\n" << to_json(tree);
  ASSERT_EQ(without_indices(match[1]), without_indices(target)) << to_json(tree);
}

TEST(RangesProperty, ALeafDefinedTwiceIsReportedWhateverTheOrderAndTheDepth) {
  std::size_t num_checked = 0;
  for_seeds(400, [&](std::mt19937_64& random) {
    RandomConfig config(random);
    Tree tree = config.tree();
    const std::string target = add_overlap(config, tree);
    if (target.empty()) return;
    ++num_checked;
    for (int order = 0; order < 6; ++order) {
      ASSERT_NO_FATAL_FAILURE(expect_overlap_reported(tree, target));
      config.shuffle(tree);
    }
  });
  EXPECT_GT(num_checked, 80U);
}

TEST(RangesProperty, ALeafDefinedTwiceIsReportedForEachOrderOfTheOutermostPatterns) {
  std::size_t num_checked = 0;
  for_seeds(300, [&](std::mt19937_64& random) {
    // The same module for layers 0-1, 2 and 1-2: layer 1 has everything twice, lists inside included.
    const RandomConfig config(random, 3);
    Tree list;
    list.set("layers", Tree(Tree::Object{}));
    for (const char* pattern : {"0-1", "1-2", "2"}) list.find("layers")->set(pattern, config.tree());
    auto& patterns = list.find("layers")->object();
    const auto by_name = [](const Tree::Member& a, const Tree::Member& b) { return a.first < b.first; };
    do {
      const std::string message = overlap_error(list);
      ASSERT_THAT(message, ::testing::AllOf(::testing::HasSubstr("\"1-2\""), ::testing::HasSubstr("both define it for layer 1")))
          << to_json(list);
      ++num_checked;
    } while (std::next_permutation(patterns.begin(), patterns.end(), by_name));
  });
  EXPECT_EQ(num_checked, 300U * 6U);
}

}  // namespace
}  // namespace meshseek

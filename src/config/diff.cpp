#include "config/diff.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include "config/names.hpp"
#include "config/ranges.hpp"

namespace meshseek {
namespace {

/// A difference below some node: the dotted path from there, and what differs.
struct Difference {
  std::string path = {};
  std::string change = {};

  friend bool operator==(const Difference&, const Difference&) = default;
};

using Differences = std::vector<Difference>;

std::string shown(const Tree* value) {
  if (value == nullptr || value->is_null()) return "unset";
  return value->is_string() ? value->as_string("") : to_json_line(*value);
}

/// Keys of both objects: the left one's, then what only the right one has.
std::vector<std::string> keys_of_both(const Tree* left, const Tree* right) {
  std::vector<std::string> keys;
  for (const Tree* tree : {left, right}) {
    if (tree == nullptr) continue;
    for (const std::string_view key : keys_of(*tree)) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.emplace_back(key);
    }
  }
  return keys;
}

const Tree* member_of(const Tree* tree, const std::string& key) { return tree == nullptr ? nullptr : tree->find(key); }

class Comparison {
 public:
  Comparison(std::string_view left_name, std::string_view right_name) : left_name_(left_name), right_name_(right_name) {}

  /// At least one of the two is given.
  Differences compare(const Tree* left, const Tree* right, bool in_operator) const {
    if (left != nullptr && right != nullptr && *left == *right) return {};
    const bool left_is_op = left != nullptr && is_operator(*left);
    const bool right_is_op = right != nullptr && is_operator(*right);
    if (!in_operator && (left_is_op || right_is_op)) return compare_operators(left_is_op ? left : nullptr, right_is_op ? right : nullptr);
    if (!is_group_or_unset(left) || !is_group_or_unset(right) || (is_unset(left) && is_unset(right))) return compare_values(left, right);
    const bool is_list = !in_operator && is_list_or_unset(left) && is_list_or_unset(right);
    return is_list ? compare_lists(left, right) : compare_members(left, right, in_operator);
  }

 private:
  static bool is_unset(const Tree* tree) { return tree == nullptr || tree->is_null(); }
  static bool is_group_or_unset(const Tree* tree) { return is_unset(tree) || tree->is_object(); }
  static bool is_list_or_unset(const Tree* tree) { return is_unset(tree) || is_layer_list(*tree); }

  static Differences compare_values(const Tree* left, const Tree* right) {
    if (is_unset(left) && is_unset(right)) return {};
    const std::string before = shown(left);
    const std::string after = shown(right);
    // "4" and 4 look the same.
    if (before == after) return {{"", fmt::format("{} -> {}", describe(*left), describe(*right))}};
    return {{"", fmt::format("{} -> {}", before, after)}};
  }

  Differences compare_operators(const Tree* left, const Tree* right) const {
    if (left == nullptr) return {{"", fmt::format("only in {} ({})", right_name_, shown(right->find("op")))}};
    if (right == nullptr) return {{"", fmt::format("only in {} ({})", left_name_, shown(left->find("op")))}};
    // The fields of different operators cannot be compared.
    if (*left->find("op") != *right->find("op"))
      return {{"op", fmt::format("{} -> {}", shown(left->find("op")), shown(right->find("op")))}};
    return compare_members(left, right, true);
  }

  Differences compare_members(const Tree* left, const Tree* right, bool in_operator) const {
    Differences all;
    for (const std::string& key : keys_of_both(left, right)) {
      const Tree* left_member = member_of(left, key);
      const Tree* right_member = member_of(right, key);
      if (left_member == nullptr && right_member == nullptr) continue;
      for (Difference& one : compare(left_member, right_member, in_operator)) {
        all.push_back({one.path.empty() ? key : join_path(key, one.path), std::move(one.change)});
      }
    }
    // A group without members in place of none.
    if (all.empty() && is_unset(left) != is_unset(right)) return compare_values(left, right);
    return all;
  }

  /// One difference of a list's entries and the runs of entries that have it.
  struct Run {
    Difference difference = {};
    RangePattern range = {};
  };

  Differences compare_lists(const Tree* left, const Tree* right) const {
    std::vector<Run> runs;
    for (const std::int64_t layer_idx : indices_of_both(left, right)) {
      const std::string layer = std::to_string(layer_idx);
      for (Difference& one : compare(member_of(left, layer), member_of(right, layer), false)) {
        const auto run = std::find_if(runs.begin(), runs.end(),
                                      [&](const Run& earlier) { return earlier.range.last + 1 == layer_idx && earlier.difference == one; });
        if (run != runs.end())
          run->range.last = layer_idx;
        else
          runs.push_back({std::move(one), {layer_idx, layer_idx}});
      }
    }
    Differences all;
    for (const Run& run : runs) {
      const std::string range = to_string(run.range);
      all.push_back({run.difference.path.empty() ? range : join_path(range, run.difference.path), run.difference.change});
    }
    return all;
  }

  static std::vector<std::int64_t> indices_of_both(const Tree* left, const Tree* right) {
    std::vector<std::int64_t> indices;
    for (const std::string& key : keys_of_both(left, right)) indices.push_back(parse_range(key, "diff").first);
    std::sort(indices.begin(), indices.end());
    return indices;
  }

  std::string_view left_name_;
  std::string_view right_name_;
};

}  // namespace

std::vector<std::string> diff_configs(const Tree& left, const Tree& right, std::string_view left_name, std::string_view right_name) {
  const Tree expanded_left = expand_tree(left);
  const Tree expanded_right = expand_tree(right);
  std::vector<std::string> lines;
  for (const Difference& one : Comparison(left_name, right_name).compare(&expanded_left, &expanded_right, false)) {
    lines.push_back(fmt::format("{}: {}", shown_path(one.path), one.change));
  }
  return lines;
}

}  // namespace meshseek

#include "config/ranges.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "config/names.hpp"

namespace meshseek {
namespace {

/// A list beyond this is a mistake or an attack: nested ranges multiply, and the shortest layer becomes a whole typed config. A list of the most layers with
/// every field written out (450 values each) is below the limit of values, so that what was read can be written and read again.
constexpr std::int64_t kMaxExpandedValues = std::int64_t{1} << 19;
constexpr std::int64_t kMaxLayers = std::int64_t{1} << 10;
/// A text counts as one value more per so many bytes: a range repeats all of it.
constexpr std::size_t kTextBytesPerValue = 64;

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool looks_like_a_range(std::string_view key) {
  const std::size_t dash = key.find('-');
  if (dash == std::string_view::npos) return is_digits(key);
  return is_digits(key.substr(0, dash)) && is_digits(key.substr(dash + 1));
}

/// The index, or -1 when `digits` is none (empty, signs, spaces, leading zeros, too large).
std::int64_t parse_index(std::string_view digits) {
  if (!is_digits(digits) || (digits.size() > 1 && digits[0] == '0')) return -1;
  std::int64_t index = -1;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  return result.ec == std::errc() && index < kMaxLayers ? index : -1;
}

bool is_plain_object(const Tree& tree) { return tree.is_object() && !is_operator(tree) && tree.find("path") == nullptr; }

std::int64_t count_text(const std::string& text) { return static_cast<std::int64_t>(text.size() / kTextBytesPerValue); }

std::int64_t count_values(const Tree& tree) {
  std::int64_t count = 1;
  if (tree.is_string()) {
    count += count_text(tree.as_string(""));
  } else if (tree.is_object()) {
    for (const auto& [key, value] : tree.as_object("")) count += count_text(key) + count_values(value);
  } else if (tree.is_array()) {
    for (const Tree& element : tree.as_array("")) count += count_values(element);
  }
  return count;
}

/// The dotted path of the first value that two trees both define; empty when they can be merged.
std::optional<std::string> find_conflict(const Tree& one, const Tree& other, const std::string& path) {
  if (!is_plain_object(one) || !is_plain_object(other)) return path;
  for (const auto& [key, value] : one.as_object(path)) {
    if (const Tree* same = other.find(key)) {
      if (auto conflict = find_conflict(value, *same, join_path(path, key))) return conflict;
    }
  }
  return std::nullopt;
}

/// Adds what `source` defines; the two have no conflict.
void merge_into(Tree& target, const Tree& source) {
  for (const auto& [key, value] : source.as_object("")) {
    if (Tree* existing = target.find(key)) {
      merge_into(*existing, value);
    } else {
      target.set(key, value);
    }
  }
}

void substitute_layer(std::string& text, const std::string& layer) {
  constexpr std::string_view kPlaceholder = "{layer}";
  for (std::size_t at = text.find(kPlaceholder); at != std::string::npos; at = text.find(kPlaceholder, at + layer.size())) {
    text.replace(at, kPlaceholder.size(), layer);
  }
}

/// In a weight ({"path", "dtype", ...}) only the path is a file name; elsewhere a string is a weight given by its path alone.
void substitute_layer(Tree& tree, const std::string& layer) {
  if (!tree.is_object()) return;
  const bool is_weight = tree.find("path") != nullptr;
  for (auto& [key, value] : tree.object()) {
    if (value.is_object()) {
      substitute_layer(value, layer);
    } else if (value.is_string() && (key == "path" || !is_weight)) {
      std::string text = value.as_string(key);
      substitute_layer(text, layer);
      value = Tree(std::move(text));
    }
  }
}

struct PatternEntry {
  RangePattern range = {};
  const std::string* key = nullptr;
  const Tree* tree = nullptr;
};

std::vector<PatternEntry> read_patterns(const Tree& list_object, std::string_view where) {
  std::vector<PatternEntry> patterns;
  for (const auto& [key, tree] : list_object.as_object(shown_path(where))) {
    patterns.push_back({parse_range(key, where), &key, &tree});
  }
  return patterns;
}

/// The patterns that cover one layer, in the file's order.
using Covering = std::vector<const PatternEntry*>;

/// Expands lists while it keeps account of the values made so far.
class Expander {
 public:
  Expander(const LayerCounts& layer_counts, LayerPlaceholder placeholder) : layer_counts_(layer_counts), placeholder_(placeholder) {}

  /// A copy of a tree with every list expanded.
  Tree expand_copy(const Tree& tree, const std::string& path, bool inside_a_list) {
    if (is_leaf(tree)) return tree;
    if (list_size(tree, path)) return expand_inside(expand_one(tree, path, inside_a_list), path, true);
    Tree::Object members;
    for (const auto& [key, value] : tree.as_object(path)) {
      members.emplace_back(key, expand_copy(value, join_path(path, key), inside_a_list));
    }
    return Tree(std::move(members));
  }

  Tree expand_list(const Tree& list_object, std::int64_t num_layers, std::string_view where, LayerPlaceholder placeholder) {
    const std::vector<PatternEntry> patterns = read_patterns(list_object, where);
    check_bounds(patterns, num_layers, where);
    const std::vector<Covering> coverings = coverings_of(patterns, num_layers);
    Tree::Object layers;
    layers.reserve(coverings.size());
    for (std::int64_t layer_idx = 0; layer_idx < num_layers; ++layer_idx) {
      layers.emplace_back(std::to_string(layer_idx), merge_layer(coverings[static_cast<std::size_t>(layer_idx)], layer_idx, where));
      if (placeholder == LayerPlaceholder::substitute) substitute_layer(layers.back().second, layers.back().first);
    }
    return Tree(std::move(layers));
  }

  void visit_list(const Tree& list_object, std::int64_t num_layers, std::string_view where, const LayerVisit& visit) {
    const std::vector<PatternEntry> patterns = read_patterns(list_object, where);
    check_bounds(patterns, num_layers, where);
    const std::vector<Covering> coverings = coverings_of(patterns, num_layers);
    for (std::int64_t layer_idx = 0; layer_idx < num_layers; ++layer_idx) {
      const Covering& covering = coverings[static_cast<std::size_t>(layer_idx)];
      if (covering.size() == 1) {
        visit(layer_idx, *covering.front()->tree);
      } else {
        visit(layer_idx, merge_layer(covering, layer_idx, where));
      }
    }
  }

  /// Counts what a tree expands to, and checks the outermost lists against their known sizes. A list inside a list may get elements from
  /// several patterns of the outer one: what it lacks shows only when they are merged.
  void check_lists(const Tree& tree, const std::string& path, std::int64_t copies, bool inside_a_list) {
    if (is_leaf(tree)) {
      add_values(count_values(tree) * copies, path);
      return;
    }
    // Objects count, too: with them the limit bounds `copies` before it is multiplied again.
    add_values(copies, path);
    const auto num_layers = list_size(tree, path);
    if (!num_layers) {
      for (const auto& [key, value] : tree.as_object(path)) {
        add_values(count_text(key) * copies, path);
        check_lists(value, join_path(path, key), copies, inside_a_list);
      }
      return;
    }
    const std::vector<PatternEntry> patterns = read_patterns(tree, path);
    check_range_limits(patterns, *num_layers, path);
    for (const PatternEntry& pattern : patterns) {
      check_lists(*pattern.tree, join_path(path, *pattern.key), copies * (pattern.range.last - pattern.range.first + 1), true);
    }
    if (inside_a_list) return;
    const std::vector<Covering> coverings = coverings_of(patterns, *num_layers);
    for (std::size_t layer_idx = 0; layer_idx < coverings.size(); ++layer_idx) {
      if (coverings[layer_idx].empty()) throw_uncovered(static_cast<std::int64_t>(layer_idx), path);
    }
  }

 private:
  static bool is_leaf(const Tree& tree) { return !tree.is_object() || is_operator(tree) || tree.find("path") != nullptr; }

  /// Number of layers when the tree is a list.
  std::optional<std::int64_t> list_size(const Tree& tree, const std::string& path) const {
    if (const auto known = layer_counts_ ? layer_counts_(path) : std::nullopt) return known;
    return is_layer_list(tree) ? std::optional(count_layers(tree, path)) : std::nullopt;
  }

  Tree expand_one(const Tree& list, const std::string& path, bool inside_a_list) {
    return expand_list(list, *list_size(list, path), path, inside_a_list ? LayerPlaceholder::keep : placeholder_);
  }

  /// Expands the lists below a tree of one's own, in place.
  Tree expand_inside(Tree tree, const std::string& path, bool inside_a_list) {
    for (auto& [key, value] : tree.object()) {
      if (is_leaf(value)) continue;
      const std::string member_path = join_path(path, key);
      const bool is_list = list_size(value, member_path).has_value();
      value =
          expand_inside(is_list ? expand_one(value, member_path, inside_a_list) : std::move(value), member_path, inside_a_list || is_list);
    }
    return tree;
  }

  static void check_range_limits(const std::vector<PatternEntry>& patterns, std::int64_t num_layers, std::string_view where) {
    if (num_layers < 0 || num_layers > kMaxLayers) {
      throw ConfigError(fmt::format("[{}] a list of {} layers; expected 0 to {}", shown_path(where), num_layers, kMaxLayers));
    }
    for (const PatternEntry& pattern : patterns) {
      if (pattern.range.last < num_layers) continue;
      throw ConfigError(fmt::format("[{}] the pattern \"{}\" names layer {}, but there are {} layers (0 to {})", shown_path(where),
                                    *pattern.key, pattern.range.last, num_layers, num_layers - 1));
    }
  }

  void add_values(std::int64_t count, std::string_view where) {
    num_values_ += count;
    if (num_values_ <= kMaxExpandedValues) return;
    throw ConfigError(
        fmt::format("[{}] the range patterns expand to more than {} values; use smaller ranges", shown_path(where), kMaxExpandedValues));
  }

  void check_bounds(const std::vector<PatternEntry>& patterns, std::int64_t num_layers, std::string_view where) {
    check_range_limits(patterns, num_layers, where);
    for (const PatternEntry& pattern : patterns) {
      add_values(count_values(*pattern.tree) * (pattern.range.last - pattern.range.first + 1), where);
    }
  }

  static std::vector<Covering> coverings_of(const std::vector<PatternEntry>& patterns, std::int64_t num_layers) {
    std::vector<Covering> coverings(static_cast<std::size_t>(num_layers));
    for (const PatternEntry& pattern : patterns) {
      for (std::int64_t layer_idx = pattern.range.first; layer_idx <= pattern.range.last; ++layer_idx) {
        coverings[static_cast<std::size_t>(layer_idx)].push_back(&pattern);
      }
    }
    return coverings;
  }

  [[noreturn]] static void throw_uncovered(std::int64_t layer_idx, std::string_view where) {
    throw ConfigError(fmt::format("[{}] no pattern covers layer {}; add \"{}\" or widen a range", shown_path(where), layer_idx, layer_idx));
  }

  static Tree merge_layer(const Covering& covering, std::int64_t layer_idx, std::string_view where) {
    if (covering.empty()) throw_uncovered(layer_idx, where);
    Tree merged = *covering.front()->tree;
    for (std::size_t added = 1; added < covering.size(); ++added) {
      const PatternEntry& pattern = *covering[added];
      // With all earlier ones at once; one by one only to name the one it is, as that is quadratic in the patterns.
      if (find_conflict(*pattern.tree, merged, "")) check_overlap(std::span(covering).first(added), pattern, layer_idx, where);
      merge_into(merged, *pattern.tree);
    }
    return merged;
  }

  static void check_overlap(std::span<const PatternEntry* const> covering, const PatternEntry& added, std::int64_t layer_idx,
                            std::string_view where) {
    for (const PatternEntry* earlier : covering) {
      const auto conflict = find_conflict(*earlier->tree, *added.tree, join_path(where, std::to_string(layer_idx)));
      if (!conflict) continue;
      throw ConfigError(
          fmt::format("[{}] the patterns \"{}\" and \"{}\" both define it for layer {}; "
                      "make the ranges disjoint, or change single fields with an overlay",
                      *conflict, *earlier->key, *added.key, layer_idx));
    }
  }

  const LayerCounts& layer_counts_;
  LayerPlaceholder placeholder_ = LayerPlaceholder::keep;
  std::int64_t num_values_ = 0;
};

}  // namespace

RangePattern parse_range(std::string_view pattern, std::string_view where) {
  const std::size_t dash = pattern.find('-');
  const bool is_single = dash == std::string_view::npos;
  const RangePattern range{.first = parse_index(pattern.substr(0, dash)),
                           .last = parse_index(is_single ? pattern : pattern.substr(dash + 1))};
  if (range.first < 0 || range.last < 0) {
    throw ConfigError(fmt::format("[{}] the key {} is no range of layers; expected \"7\" or \"0-31\" (below {}, no leading zeros)",
                                  shown_path(where), in_quotes(pattern), kMaxLayers));
  }
  if (range.last < range.first) {
    throw ConfigError(
        fmt::format("[{}] the range \"{}\" is reversed; write \"{}-{}\"", shown_path(where), pattern, range.last, range.first));
  }
  return range;
}

std::string to_string(const RangePattern& range) {
  return range.first == range.last ? std::to_string(range.first) : fmt::format("{}-{}", range.first, range.last);
}

bool is_layer_list(const Tree& tree) {
  if (!tree.is_object()) return false;
  const Tree::Object& members = tree.as_object("");
  return !members.empty() &&
         std::all_of(members.begin(), members.end(), [](const auto& member) { return looks_like_a_range(member.first); });
}

std::int64_t count_layers(const Tree& list_object, std::string_view where) {
  std::int64_t count = 0;
  for (const PatternEntry& pattern : read_patterns(list_object, where)) count = std::max(count, pattern.range.last + 1);
  return count;
}

Tree expand_ranges(const Tree& list_object, std::int64_t num_layers, std::string_view where, LayerPlaceholder placeholder) {
  return Expander({}, placeholder).expand_list(list_object, num_layers, where, placeholder);
}

void for_each_layer(const Tree& list_object, std::int64_t num_layers, std::string_view where, const LayerVisit& visit) {
  Expander({}, LayerPlaceholder::keep).visit_list(list_object, num_layers, where, visit);
}

void check_layer_lists(const Tree& tree, const LayerCounts& layer_counts, std::string_view where) {
  Expander(layer_counts, LayerPlaceholder::keep).check_lists(tree, std::string(where), 1, false);
}

Tree expand_tree(const Tree& tree, const LayerCounts& layer_counts, LayerPlaceholder placeholder, std::string_view where) {
  check_layer_lists(tree, layer_counts, where);  // nothing is made of what would be too large
  return Expander(layer_counts, placeholder).expand_copy(tree, std::string(where), false);
}

Tree fold_ranges(const Tree& expanded) {
  if (!expanded.is_object() || is_operator(expanded) || expanded.find("path") != nullptr) return expanded;
  const bool is_list = is_layer_list(expanded);
  Tree::Object folded;
  RangePattern run;  // of the last entry of `folded`
  for (const auto& [key, value] : expanded.as_object("")) {
    Tree entry = fold_ranges(value);
    const RangePattern range = is_list ? parse_range(key, "fold") : RangePattern{};
    if (is_list && !folded.empty() && run.last + 1 == range.first && folded.back().second == entry) {
      run.last = range.last;
      folded.back().first = to_string(run);
      continue;
    }
    run = range;
    folded.emplace_back(key, std::move(entry));
  }
  return Tree(std::move(folded));
}

}  // namespace meshseek

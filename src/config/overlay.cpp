#include "config/overlay.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/error.hpp"
#include "config/names.hpp"
#include "config/ranges.hpp"

namespace meshseek {
namespace {

bool holds_operators(const Tree& tree) {
  if (!tree.is_object()) return false;
  const Tree::Object& members = tree.as_object("");
  return is_operator(tree) ||
         std::any_of(members.begin(), members.end(), [](const auto& member) { return holds_operators(member.second); });
}

[[noreturn]] void throw_no_member(const Tree& parent, std::string_view path, std::string_view name) {
  const std::string where = shown_path(path);
  parent.as_object(where + "." + std::string(name));  // throws when it is something that has no members
  throw ConfigError(fmt::format("[{}] there is no {} to change here{}", where, in_quotes(name), known_names_hint(name, keys_of(parent))));
}

/// Refuses to change what an operator is: an overlay changes fields.
void check_replaceable(const Tree& parent, std::string_view name, const Tree& target, const std::string& path) {
  if (name == "op" && is_operator(parent)) throw ConfigError(fmt::format("[{}] an overlay cannot change which operator this is", path));
  if (holds_operators(target)) throw ConfigError(fmt::format("[{}] an overlay cannot replace operators; name one of its fields", path));
}

// --- path=value ---

struct Assignment {
  std::vector<std::string_view> segments = {};
  bool has_wildcards = false;
  Tree value = {};
};

Tree parse_value(std::string_view text, std::string_view path) {
  try {
    return parse_json(text, fmt::format("--set {}", path));
  } catch (const ConfigError&) {
    // A bare word is a string; what begins like JSON was meant to be JSON.
    if (!text.empty() && std::string_view("[{\"").find(text[0]) != std::string_view::npos) throw;
    return Tree(text);
  }
}

Assignment parse_assignment(std::string_view text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) {
    throw ConfigError(fmt::format("[--set {}] \"=\" is missing; expected model.layers.0.mlp.w1.field=value", text));
  }
  Assignment assignment;
  const std::string_view path = text.substr(0, equals);
  for (std::size_t start = 0; start <= path.size();) {
    const std::size_t end = std::min(path.find('.', start), path.size());
    assignment.segments.push_back(path.substr(start, end - start));
    if (start == end) throw ConfigError(fmt::format("[--set {}] the path has an empty name", text));
    start = end + 1;
  }
  if (assignment.segments.size() > static_cast<std::size_t>(kMaxTreeDepth)) {
    throw ConfigError(
        fmt::format("[--set {}] the path has {} names; expected at most {}", in_quotes(text), assignment.segments.size(), kMaxTreeDepth));
  }
  const auto is_wildcard = [](std::string_view segment) { return segment == "*" || segment == "**"; };
  assignment.has_wildcards = std::any_of(assignment.segments.begin(), assignment.segments.end(), is_wildcard);
  if (is_wildcard(assignment.segments.back())) {
    throw ConfigError(fmt::format("[--set {}] the path ends in a wildcard; end it with the name of a field", text));
  }
  assignment.value = parse_value(text.substr(equals + 1), path);
  return assignment;
}

/// A value of the tree that the path has matched so far.
struct Match {
  Tree* tree = nullptr;
  std::string path = {};
  bool in_operator = false;  ///< it is an operator or lies in one
};

/// Matches paths segment by segment. Every list of matches has outer values before the values inside them.
class Matcher {
 public:
  explicit Matcher(Tree& root) : matches_{Match{&root, "", is_operator(root)}} {}
  explicit Matcher(const Match& start) : matches_{start} {}

  const std::vector<Match>& matches() const { return matches_; }

  void step(std::string_view segment) {
    std::vector<Match> next;
    std::unordered_set<const Tree*> seen;
    for (const Match& match : matches_) {
      if (segment == "**") {
        add_all_below(match, next, seen);
      } else if (segment == "*") {
        if (!match.tree->is_object()) continue;
        for (auto& [key, value] : match.tree->object()) next.push_back(member_of(match, key, value));
      } else if (Tree* member = match.tree->find(segment)) {
        next.push_back(member_of(match, segment, *member));
      }
    }
    matches_ = std::move(next);
  }

  /// A field that an exact path may add below an operator.
  void step_into_new(std::string_view name) {
    Match& parent = matches_.front();
    Tree& added = parent.tree->set(std::string(name), Tree(Tree::Object{}));
    matches_ = {member_of(parent, name, added)};
  }

 private:
  static Match member_of(const Match& parent, std::string_view key, Tree& value) {
    return {&value, join_path(parent.path, key), parent.in_operator || is_operator(value)};
  }

  static void add_all_below(const Match& match, std::vector<Match>& next, std::unordered_set<const Tree*>& seen) {
    if (!seen.insert(match.tree).second) return;
    next.push_back(match);
    if (!match.tree->is_object()) return;
    for (auto& [key, value] : match.tree->object()) add_all_below(member_of(match, key, value), next, seen);
  }

  std::vector<Match> matches_;
};

[[noreturn]] void throw_no_match(const std::vector<Match>& parents, std::string_view segment, std::string_view assignment) {
  std::vector<std::string_view> known;
  for (const Match& parent : parents) {
    for (const std::string_view key : keys_of(*parent.tree)) {
      if (std::find(known.begin(), known.end(), key) == known.end()) known.push_back(key);
    }
  }
  throw ConfigError(fmt::format("[--set {}] nothing matches \"{}\"{}", assignment, segment, known_names_hint(segment, known)));
}

/// Changes every match of a path with wildcards.
void set_wildcard(Tree& root, const Assignment& assignment, std::string_view text) {
  Matcher matcher(root);
  std::vector<Match> parents;
  for (const std::string_view segment : assignment.segments) {
    parents = matcher.matches();
    matcher.step(segment);
    if (matcher.matches().empty()) throw_no_match(parents, segment, text);
  }
  const std::string_view name = assignment.segments.back();
  for (const Match& parent : parents) {
    if (const Tree* target = parent.tree->find(name)) check_replaceable(*parent.tree, name, *target, join_path(parent.path, name));
  }
  // Inner values first: replacing an outer one ends the life of those inside it.
  for (auto match = matcher.matches().rbegin(); match != matcher.matches().rend(); ++match) *match->tree = assignment.value;
}

/// Changes or adds the one field that a path without wildcards names.
void set_exact(Tree& root, const Assignment& assignment) {
  Matcher matcher(root);
  for (std::size_t i = 0; i < assignment.segments.size(); ++i) {
    const std::string_view name = assignment.segments[i];
    const bool is_last = i + 1 == assignment.segments.size();
    const Match parent = matcher.matches().front();
    matcher.step(name);
    if (matcher.matches().empty()) {
      if (!parent.in_operator || !parent.tree->is_object()) throw_no_member(*parent.tree, parent.path, name);
      matcher = Matcher(parent);
      matcher.step_into_new(name);
    }
    if (is_last) {
      const Match& target = matcher.matches().front();
      check_replaceable(*parent.tree, name, *target.tree, target.path);
      *target.tree = assignment.value;
    }
  }
}

// --- overlay trees ---

void merge_overlay(Tree& target, const Tree& overlay, const std::string& path, bool in_operator);

void merge_member(Tree& target, const std::string& key, const Tree& value, const std::string& path, bool in_operator) {
  Tree* existing = target.find(key);
  const std::string member_path = join_path(path, key);
  if (!existing) {
    if (!in_operator) throw_no_member(target, path, key);
    target.set(key, value);
  } else if (key == "op" && is_operator(target)) {
    // An overlay may repeat the operator's name, as files written by hand do.
    if (*existing != value) check_replaceable(target, key, *existing, member_path);
  } else if (value.is_object() && (existing->is_object() || !in_operator)) {
    merge_overlay(*existing, value, member_path, in_operator);
  } else {
    check_replaceable(target, key, *existing, member_path);
    *existing = value;
  }
}

void merge_layers(Tree& layers, const Tree& overlay, const std::string& path) {
  for (const auto& [key, value] : overlay.as_object(path)) {
    const RangePattern range = parse_range(key, shown_path(path));
    for (std::int64_t layer_idx = range.first; layer_idx <= range.last; ++layer_idx) {
      const std::string layer = std::to_string(layer_idx);
      if (!layers.find(layer)) {
        throw ConfigError(fmt::format("[{}] the pattern \"{}\" names layer {}, but the list has {} layers", shown_path(path), key,
                                      layer_idx, layers.as_object(path).size()));
      }
      merge_member(layers, layer, value, path, false);
    }
  }
}

void merge_overlay(Tree& target, const Tree& overlay, const std::string& path, bool in_operator) {
  target.as_object(shown_path(path));
  const bool is_inside = in_operator || is_operator(target);
  if (!is_inside && is_layer_list(target)) return merge_layers(target, overlay, path);
  for (const auto& [key, value] : overlay.as_object(shown_path(path))) merge_member(target, key, value, path, is_inside);
}

}  // namespace

void apply_set(Tree& expanded, std::string_view assignment) {
  const Assignment parsed = parse_assignment(assignment);
  Tree changed = expanded;  // so that an error leaves the tree as it was
  if (parsed.has_wildcards) {
    set_wildcard(changed, parsed, assignment);
  } else {
    set_exact(changed, parsed);
  }
  expanded = std::move(changed);
}

void apply_overlay(Tree& expanded, const Tree& overlay) {
  Tree changed = expanded;
  merge_overlay(changed, overlay, "", false);
  expanded = std::move(changed);
}

}  // namespace meshseek

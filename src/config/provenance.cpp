#include "config/provenance.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "config/names.hpp"
#include "config/overlay.hpp"
#include "config/ranges.hpp"

namespace meshseek {
namespace {

std::string source_text(const std::vector<std::string>& patterns, const std::string& name) {
  if (patterns.empty()) return name;
  return fmt::format("{} \"{}\" of {}", patterns.size() == 1 ? "pattern" : "patterns", fmt::join(patterns, "\" / \""), name);
}

/// The tree with a source in place of every value. "op" stays: expansion and overlays look at it.
Tree with_sources(const Tree& tree, const std::string& name, std::vector<std::string>& patterns, bool in_operator) {
  if (!tree.is_object()) return Tree(source_text(patterns, name));
  in_operator = in_operator || is_operator(tree);
  const bool is_list = !in_operator && is_layer_list(tree);
  Tree::Object members;
  for (const auto& [key, value] : tree.as_object(name)) {
    if (is_list) patterns.push_back(key);
    const bool keeps_value = key == "op" && is_operator(tree);
    members.emplace_back(key, keeps_value ? value : with_sources(value, name, patterns, in_operator));
    if (is_list) patterns.pop_back();
  }
  return Tree(std::move(members));
}

Tree with_sources(const Tree& tree, const std::string& name) {
  std::vector<std::string> patterns;
  return with_sources(tree, name, patterns, false);
}

/// The value of "path=value" when it is an object, which sets fields of its own.
std::optional<Tree> object_value(std::string_view text) {
  try {
    Tree value = parse_json(text, "--set");
    if (value.is_object()) return value;
  } catch (const ConfigError&) {
    // A bare word: apply_set takes it as a string.
  }
  return std::nullopt;
}

template <class TreeType>
TreeType* walk(TreeType& root, std::string_view path) {
  TreeType* node = &root;
  while (node != nullptr && !path.empty()) {
    const std::string_view name = path.substr(0, path.find('.'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    node = node->find(name);
  }
  return node;
}

}  // namespace

const Tree* find_path(const Tree& root, std::string_view path) { return walk(root, path); }
Tree* find_path(Tree& root, std::string_view path) { return walk(root, path); }

Provenance Provenance::of(const Tree& expanded, const std::string& source) {
  Provenance provenance;
  provenance.changes(Tree(), expanded, [&](const std::string&) { return source; });
  return provenance;
}

Provenance Provenance::of_file(const Tree& root, const std::string& file) { return Provenance(expand_tree(with_sources(root, file))); }

void Provenance::overlay(const Tree& overlay, const std::string& name) { apply_overlay(sources_, with_sources(overlay, name)); }

void Provenance::set(std::string_view assignment, const std::string& source) {
  const std::size_t equals = std::min(assignment.find('='), assignment.size());
  const auto object = object_value(assignment.substr(std::min(equals + 1, assignment.size())));
  const Tree value = object ? with_sources(*object, source) : Tree(source);
  apply_set(sources_, fmt::format("{}={}", assignment.substr(0, equals), to_json_line(value)));
}

void Provenance::changes(const Tree& before, const Tree& after, const std::function<std::string(const std::string& path)>& source) {
  const std::function<Tree(const Tree*, const Tree&, const Tree*, const std::string&)> merged =
      [&](const Tree* old, const Tree& now, const Tree* known, const std::string& path) {
        const bool is_same = old != nullptr && *old == now;
        if (is_same && known != nullptr) return *known;
        if (!now.is_object()) return Tree(source(path));
        Tree::Object members;
        for (const auto& [key, value] : now.as_object(path)) {
          const bool keeps_value = key == "op" && is_operator(now);
          const Tree* old_value = old == nullptr ? nullptr : old->find(key);
          const Tree* known_value = known == nullptr ? nullptr : known->find(key);
          members.emplace_back(key, keeps_value ? value : merged(old_value, value, known_value, join_path(path, key)));
        }
        return Tree(std::move(members));
      };
  sources_ = merged(&before, after, &sources_, "");
}

std::optional<std::string> Provenance::source_of(std::string_view path) const {
  const Tree* source = find_path(sources_, path);
  if (source == nullptr || !source->is_string()) return std::nullopt;
  return source->as_string(path);
}

}  // namespace meshseek

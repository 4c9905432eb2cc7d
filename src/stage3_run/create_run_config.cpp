#include "stage3_run/create_run_config.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "config/provenance.hpp"

namespace meshseek {
namespace create_run_config_detail {
namespace {

bool is_weight_leaf(const Tree& node) { return node.is_string() || node.find("path") != nullptr; }

/// The dotted path of the first weight at or below `node`; empty when there is none.
std::string first_weight(const Tree& node, const std::string& where) {
  if (is_weight_leaf(node)) return where;
  for (const auto& [name, child] : node.as_object(where)) {
    if (std::string path = first_weight(child, join_path(where, name)); !path.empty()) return path;
  }
  return "";
}

void check_no_weights(const Tree& node, const std::string& where) {
  const std::string path = first_weight(node, where);
  if (!path.empty()) throw ConfigError(fmt::format("[{}] superfluous weight: no operator of the model config takes it", path));
}

}  // namespace

void throw_missing(const WeightSlot& slot, const ConfigPath& where) {
  throw ConfigError(fmt::format("[{}] missing weight: the model config expects {} but the weight config has no entry here",
                                where.to_string(), to_string(slot.shape)));
}

void check_superfluous(const Tree& weights, std::span<const std::string_view> known, const ConfigPath& where) {
  if (!weights.is_object()) weights.as_object(where.to_string());  // throws
  for (const auto& [name, child] : weights.as_object("")) {
    if (std::find(known.begin(), known.end(), name) == known.end()) check_no_weights(child, ConfigPath(where, name).to_string());
  }
}

const Tree* list_element(const Tree* weights, std::size_t idx) {
  if (weights == nullptr) return nullptr;
  // Expanded lists are in order.
  const Tree::Object& elements = weights->as_object("");
  return idx < elements.size() ? &elements[idx].second : nullptr;
}

void check_list_size(const Tree* weights, std::size_t size, const ConfigPath& where) {
  if (weights == nullptr) return;
  const Tree::Object& elements = weights->as_object(where.to_string());
  for (std::size_t idx = size; idx < elements.size(); ++idx)
    check_no_weights(elements[idx].second, ConfigPath(where, elements[idx].first).to_string());
}

Tree without_parts(Tree weights, std::span<const std::string> parts, const std::string& root) {
  for (const std::string& part : parts) {
    // Elements of lists keep their places.
    if (Tree* found = find_path(weights, part.substr(root.size() + 1))) *found = Tree(Tree::Object{});
  }
  return weights;
}

bool is_in_parts(const ConfigPath& where, std::span<const std::string> parts) {
  if (parts.empty()) return false;
  const std::string path = where.to_string();
  return std::ranges::any_of(
      parts, [&](const std::string& part) { return path.starts_with(part) && (path.size() == part.size() || path[part.size()] == '.'); });
}

}  // namespace create_run_config_detail

}  // namespace meshseek

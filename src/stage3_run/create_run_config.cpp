#include "stage3_run/create_run_config.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace meshseek {
namespace {

bool is_weight_leaf(const Tree& node) { return node.is_string() || node.find("path") != nullptr; }

template <class Visit>
void visit_leaves(const Tree& node, const std::string& where, Visit&& visit) {
  if (is_weight_leaf(node)) return visit(node, where);
  for (const auto& [name, child] : node.as_object(where)) visit_leaves(child, where + "." + name, visit);
}

}  // namespace

WeightMerge::WeightMerge(const Tree& weight_config, const std::string& root, WeightLoader& loader) : loader_(&loader) {
  visit_leaves(weight_config, root, [&](const Tree& leaf, const std::string& where) { entries_.emplace(where, Entry{&leaf}); });
}

void WeightMerge::fill(WeightSlot& slot, const std::string& where) {
  const auto found = entries_.find(where);
  if (found == entries_.end()) {
    throw ConfigError(fmt::format("[{}] missing weight: the model config expects {} but the weight config has no entry here", where,
                                  to_string(slot.shape)));
  }
  found->second.used = true;
  slot.tensor = loader_->load(*found->second.leaf, slot.shape, where);
}

void WeightMerge::check_all_used() const {
  for (const auto& [where, entry] : entries_) {
    if (!entry.used) throw ConfigError(fmt::format("[{}] superfluous weight: no operator of the model config takes it", where));
  }
}

}  // namespace meshseek

/// Merges a model config and a weight config into a run config: typed operator configs with loaded weights.
#pragma once
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "config/fields.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "ops/common_config.hpp"
#include "stage3_run/check_operators.hpp"
#include "stage3_run/weight_loader.hpp"

namespace meshseek {

/// The weight slots of a config and the entries of a weight config, matched by dotted path.
class WeightMerge {
 public:
  /// \param weight_config expanded tree; \param root its dotted path, e.g. "model"
  WeightMerge(const Tree& weight_config, const std::string& root, WeightLoader& loader);

  /// Fills one slot. \throws ConfigError "missing weight" when the weight config has no such entry.
  void fill(WeightSlot& slot, const std::string& where);
  /// \throws ConfigError naming the first entry that no operator took.
  void check_all_used() const;

 private:
  struct Entry {
    const Tree* leaf = nullptr;
    bool used = false;
  };
  std::map<std::string, Entry> entries_;
  WeightLoader* loader_;
};

/// A list of module configs, such as the layers of a model.
template <class T>
concept ConfigList = requires { typename T::value_type; } && ModuleConfig<typename T::value_type>;

/// Visits every WeightSlot below a config, with its dotted path.
template <class Config, class Visit>
void for_each_weight_slot(Config& config, const std::string& where, Visit&& visit) {
  for_each_field(config, [&](std::string_view name, auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const std::string path = where + "." + std::string(name);
    if constexpr (std::is_same_v<Member, WeightSlot>) {
      visit(member, path);
    } else if constexpr (HasFields<Member>) {
      for_each_weight_slot(member, path, visit);
    } else if constexpr (ConfigList<Member>) {
      for (std::size_t idx = 0; idx < member.size(); ++idx) for_each_weight_slot(member[idx], path + "." + std::to_string(idx), visit);
    }
  });
}

/// Visits every operator config of type Op below a config, with its dotted path.
template <class Op, class Config, class Visit>
void for_each_operator(Config& config, const std::string& where, Visit&& visit) {
  for_each_field(config, [&](std::string_view name, auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const std::string path = where + "." + std::string(name);
    if constexpr (std::is_same_v<Member, Op>) {
      visit(member, path);
    } else if constexpr (ModuleConfig<Member>) {
      for_each_operator<Op>(member, path, visit);
    } else if constexpr (ConfigList<Member>) {
      for (std::size_t idx = 0; idx < member.size(); ++idx) for_each_operator<Op>(member[idx], path + "." + std::to_string(idx), visit);
    }
  });
}

/// The design's create_run_config() for any module: expands range patterns of both configs, reads the typed config, loads each weight into its operator's
/// own config. Every mismatch is a ConfigError that names the dotted path: overlapping patterns, missing or superfluous weight, wrong shape, dtype, mesh, a
/// field that would have no effect, a dynamic field that nothing supplies.
/// \param model_config the module's part of a model config; \param weight_config the same part of the weight config; \param root e.g. "model"
/// \param layer_counts how many elements each list must have; without it a list's own highest index decides
template <class Config>
Config create_run_config(const Tree& model_config, const Tree& weight_config, const std::string& root, WeightLoader& loader,
                         const LayerCounts& layer_counts = {}) {
  const Tree expanded_weights = expand_tree(weight_config, layer_counts, LayerPlaceholder::substitute, root);
  Config config = from_tree<Config>(expand_tree(model_config, layer_counts, LayerPlaceholder::keep, root), root);
  WeightMerge merge(expanded_weights, root, loader);
  for_each_weight_slot(config, root, [&](WeightSlot& slot, const std::string& where) { merge.fill(slot, where); });
  merge.check_all_used();
  check_operators(config, root);
  return config;
}

}  // namespace meshseek

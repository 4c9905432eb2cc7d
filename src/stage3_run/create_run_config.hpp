/// Merges a model config and a weight config into a run config: typed operator configs with loaded weights.
#pragma once
#include <array>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/thread_team.hpp"
#include "config/config_path.hpp"
#include "config/fields.hpp"
#include "config/names.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "ops/common_config.hpp"
#include "stage3_run/check_operator.hpp"
#include "stage3_run/weight_loader.hpp"

namespace meshseek {

/// A list of module configs, such as the layers of a model.
template <class T>
concept ConfigList = requires { typename T::value_type; } && ModuleConfig<typename T::value_type>;

/// A weight slot of a config and the entry of the weight config that belongs to it.
struct WeightMatch {
  WeightSlot* slot = nullptr;
  const Tree* entry = nullptr;
};

namespace create_run_config_detail {

[[noreturn]] void throw_missing(const WeightSlot& slot, const ConfigPath& where);
/// \throws ConfigError naming the first entry below `weights` that no field of `known` takes
void check_superfluous(const Tree& weights, std::span<const std::string_view> known, const ConfigPath& where);
/// Element `idx` of an expanded list; null pointer when there is none.
const Tree* list_element(const Tree* weights, std::size_t idx);
void check_list_size(const Tree* weights, std::size_t size, const ConfigPath& where);
/// An expanded weight tree of `root` without the entries of the parts, which are dotted paths from it on.
Tree without_parts(Tree weights, std::span<const std::string> parts, const std::string& root);
/// Whether a path is that of a part or lies below one.
bool is_in_parts(const ConfigPath& where, std::span<const std::string> parts);

}  // namespace create_run_config_detail

/// Whether a config has weight slots at any depth.
template <class T>
constexpr bool holds_weights();

template <class Fields>
struct AnyFieldHoldsWeights;
template <class... F>
struct AnyFieldHoldsWeights<std::tuple<F...>> : std::bool_constant<(holds_weights<typename F::member_type>() || ...)> {};

template <class T>
constexpr bool holds_weights() {
  if constexpr (std::is_same_v<T, WeightSlot>) {
    return true;
  } else if constexpr (HasFields<T>) {
    return AnyFieldHoldsWeights<decltype(T::fields())>::value;
  } else if constexpr (IsOptional<T>::value || ConfigList<T>) {
    return holds_weights<typename T::value_type>();
  } else {
    return false;
  }
}

/// Walks a typed config and the expanded weight tree beside it, once: on_slot(match, path) for each weight slot, where match.entry is null when the weight
/// config has none, and on_operator.operator()<Module>(op, name, path) for each operator after its slots. Module is the config that holds the operator.
/// \param weights null pointer: nothing here has weights
/// \throws ConfigError "superfluous weight", naming the dotted path
template <class Config, class OnSlot, class OnOperator>
void walk_operators(Config& config, const Tree* weights, const ConfigPath& where, OnSlot&& on_slot, OnOperator&& on_operator) {
  namespace detail = create_run_config_detail;
  // Names of the fields that may have weights below them; the rest of the entry is superfluous.
  std::array<std::string_view, std::tuple_size_v<decltype(Config::fields())>> known;
  std::size_t num_known = 0;
  for_each_field(config, [&](std::string_view name, auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const ConfigPath path(where, name);
    const Tree* below = nullptr;
    if constexpr (holds_weights<Member>()) {
      known[num_known++] = name;
      if (weights != nullptr) below = weights->find(name);
    }
    if constexpr (std::is_same_v<Member, WeightSlot>) {
      on_slot(WeightMatch{&member, below}, path);
    } else if constexpr (OperatorConfig<Member>) {
      if constexpr (holds_weights<Member>()) walk_operators(member, below, path, on_slot, on_operator);
      on_operator.template operator()<Config>(member, name, path);
    } else if constexpr (ModuleConfig<Member> && (holds_weights<Member>() || serialise::HoldsOperator<Member>::value)) {
      walk_operators(member, below, path, on_slot, on_operator);
    } else if constexpr (ConfigList<Member>) {
      detail::check_list_size(below, member.size(), path);
      for (std::size_t idx = 0; idx < member.size(); ++idx) {
        walk_operators(member[idx], detail::list_element(below, idx), ConfigPath(path, idx), on_slot, on_operator);
      }
    }
  });
  if (weights != nullptr) detail::check_superfluous(*weights, std::span(known).first(num_known), where);
}

/// Visits every WeightSlot below a config, with its dotted path.
template <class Config, class Visit>
void for_each_weight_slot(Config& config, const std::string& where, Visit&& visit) {
  for_each_field(config, [&](std::string_view name, auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const std::string path = join_path(where, name);
    if constexpr (std::is_same_v<Member, WeightSlot>) {
      visit(member, path);
    } else if constexpr (HasFields<Member>) {
      for_each_weight_slot(member, path, visit);
    } else if constexpr (ConfigList<Member>) {
      for (std::size_t idx = 0; idx < member.size(); ++idx) for_each_weight_slot(member[idx], join_path(path, std::to_string(idx)), visit);
    }
  });
}

/// Besides the weights' place: who helps to load them, and who is told.
struct RunConfigOptions {
  LayerCounts layer_counts = {};  ///< how many elements each list must have; without it a list's own highest index decides
  ThreadTeam* team = nullptr;     ///< null: files are mapped by the calling thread
  std::function<void(const LoadProgress&)> on_progress = {};
  /// Dotted paths, as "model.layers.3": what lies below them is checked like the rest, but its weights are another device's, and its slots stay empty.
  std::vector<std::string> elsewhere = {};
};

/// The design's create_run_config() for any module: expands range patterns of both configs, reads the typed config, loads each weight into its operator's
/// own config. Every mismatch is a ConfigError that names the dotted path: overlapping patterns, missing or superfluous weight, wrong shape, dtype, mesh, a
/// field that would have no effect, a dynamic field that nothing supplies. Linear in the number of operators.
/// \param model_config the module's part of a model config; \param weight_config the same part of the weight config; \param root e.g. "model"
template <class Config>
Config create_run_config(const Tree& model_config, const Tree& weight_config, const std::string& root, WeightLoader& loader,
                         const RunConfigOptions& options = {}) {
  namespace detail = create_run_config_detail;
  const Tree expanded_weights =
      detail::without_parts(expand_tree(weight_config, options.layer_counts, LayerPlaceholder::substitute, root), options.elsewhere, root);
  check_layer_lists(model_config, options.layer_counts, root);
  Config config = from_tree<Config>(model_config, root);
  if (options.team != nullptr) loader.open_all(expanded_weights, *options.team, options.on_progress);
  walk_operators(
      config, &expanded_weights, ConfigPath(root),
      [&](const WeightMatch& match, const ConfigPath& path) {
        if (match.entry == nullptr && detail::is_in_parts(path, options.elsewhere)) return;
        if (match.entry == nullptr) detail::throw_missing(*match.slot, path);
        match.slot->tensor = loader.load(*match.entry, match.slot->shape, path);
      },
      []<class Module>(const auto& op, std::string_view name, const ConfigPath& path) { check_operator<Module>(op, name, path); });
  return config;
}

}  // namespace meshseek

/// Names of the operators of a run config.
#pragma once
#include <string>
#include <unordered_map>

#include "config/serialise.hpp"
#include "stage3_run/create_run_config.hpp"

namespace meshseek {

/// Visits every operator config below a config, whatever its type, with its dotted path.
template <class Config, class Visit>
void for_each_operator_config(const Config& config, const std::string& where, Visit&& visit) {
  for_each_field(config, [&](std::string_view name, const auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const std::string path = where + "." + std::string(name);
    if constexpr (OperatorConfig<Member>) {
      visit(member, path);
    } else if constexpr (ModuleConfig<Member>) {
      for_each_operator_config(member, path, visit);
    } else if constexpr (ConfigList<Member>) {
      for (std::size_t idx = 0; idx < member.size(); ++idx) for_each_operator_config(member[idx], path + "." + std::to_string(idx), visit);
    }
  });
}

/// Adds the path of each operator config by its address: a run config must stay where it is while names are looked up.
template <class Config>
void add_operator_names(const Config& config, const std::string& root, std::unordered_map<const void*, std::string>& names) {
  for_each_operator_config(config, root, [&](const auto& op, const std::string& path) { names[&op] = path; });
}

}  // namespace meshseek

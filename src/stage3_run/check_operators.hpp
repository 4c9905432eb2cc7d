/// What a run config must satisfy before it runs, apart from its weights.
#pragma once
#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.hpp"
#include "config/config_path.hpp"
#include "config/fields.hpp"
#include "ops/validate.hpp"

namespace meshseek {

/// Dynamic fields that a module's constructor computes itself are listed by its config: `static constexpr auto dynamic_fields()` returning an array of
/// DynamicField{"w1.program_config", ""}.
template <class Config>
concept DeclaresDynamicFields = requires { Config::dynamic_fields().size(); };

namespace check_operators_detail {

template <class Config>
bool is_set(const Config& config, std::string_view field_name) {
  bool found = false;
  for_each_field(config, [&](std::string_view name, const auto&) { found = found || name == field_name; });
  return found;
}

template <class Module>
bool module_supplies(std::string_view operator_name, std::string_view field_name) {
  if constexpr (DeclaresDynamicFields<Module>) {
    const auto fields = Module::dynamic_fields();
    return std::any_of(fields.begin(), fields.end(),
                       [&](const DynamicField& field) { return field.name == fmt::format("{}.{}", operator_name, field_name); });
  }
  return false;
}

template <class Module, class Op>
void check_operator(const Op& op, std::string_view name, const ConfigPath& path) {
  if constexpr (requires { validate(op, std::string_view()); }) {
    // The path is written out only for a message.
    try {
      validate(op, std::string_view());
    } catch (const ConfigError&) {
      validate(op, path.to_string());
      throw;
    }
  }
  if constexpr (DeclaresDynamicFields<Op>) {
    for (const DynamicField& field : Op::dynamic_fields()) {
      if (is_set(op, field.name) || is_set(op, field.rule) || module_supplies<Module>(name, field.name)) continue;
      throw ConfigError(fmt::format("[{}.{}] is dynamic, but neither \"{}\" nor the module supplies it; set one of the two", path.to_string(), field.name, field.rule));
    }
  }
}

}  // namespace check_operators_detail

/// Checks every operator below a module's config: its own validate(), and that each of its dynamic fields is set, has its rule's parameters, or is supplied by
/// the module. \param root dotted path of the config. \throws ConfigError naming the field
template <ModuleConfig Config>
void check_operators(const Config& config, const ConfigPath& root) {
  for_each_field(config, [&](std::string_view name, const auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    const ConfigPath path(root, name);
    if constexpr (OperatorConfig<Member>) {
      check_operators_detail::check_operator<Config>(member, name, path);
    } else if constexpr (ModuleConfig<Member>) {
      check_operators(member, path);
    } else if constexpr (requires { typename Member::value_type; }) {
      if constexpr (ModuleConfig<typename Member::value_type>) {
        for (std::size_t idx = 0; idx < member.size(); ++idx) check_operators(member[idx], ConfigPath(path, idx));
      }
    }
  });
}
template <class Config>
void check_operators(const Config& config, const std::string& root) {
  if constexpr (OperatorConfig<Config>) {
    check_operators_detail::check_operator<Config>(config, "", ConfigPath(root));
  } else {
    check_operators(config, ConfigPath(root));
  }
}

}  // namespace meshseek

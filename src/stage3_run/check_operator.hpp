/// What an operator config must satisfy before it runs, apart from its weights.
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

namespace check_operator_detail {

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

}  // namespace check_operator_detail

/// Checks one operator by itself: its own validate(), and that each of its dynamic fields is set, has its rule's parameters, or is supplied by the module.
/// \param name of the operator in its module. \throws ConfigError naming the field
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
      if (check_operator_detail::is_set(op, field.name) || check_operator_detail::is_set(op, field.rule) ||
          check_operator_detail::module_supplies<Module>(name, field.name))
        continue;
      throw ConfigError(fmt::format("[{}.{}] is dynamic, but neither \"{}\" nor the module supplies it; set one of the two",
                                    path.to_string(), field.name, field.rule));
    }
  }
}

}  // namespace meshseek

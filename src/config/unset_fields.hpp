/// The fields that a config leaves unset: to_tree() leaves them out, explanations show them.
#pragma once
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "config/fields.hpp"
#include "config/names.hpp"
#include "config/serialise.hpp"

namespace meshseek {

/// Calls visit(path) for every empty std::optional in a config or below it, operators and modules alike.
/// \param where dotted path of the config, e.g. "model"
template <class T, class Visit>
void for_each_unset_field(const T& value, const std::string& where, Visit&& visit) {
  if constexpr (IsOptional<T>::value) {
    if (value)
      for_each_unset_field(*value, where, visit);
    else
      visit(where);
  } else if constexpr (HasFields<T>) {
    for_each_declared_field(
        value, [&](std::string_view name, const auto& member) { for_each_unset_field(member, join_path(where, name), visit); });
  } else if constexpr (serialise::Kind<T>::is_variant) {
    std::visit([&](const auto& chosen) { for_each_unset_field(chosen, where, visit); }, value);
  } else if constexpr (serialise::HoldsOperator<T>::value) {
    // A list of submodules. Other lists are values as a whole.
    for (std::size_t i = 0; i < value.size(); ++i) for_each_unset_field(value[i], join_path(where, std::to_string(i)), visit);
  }
}

}  // namespace meshseek

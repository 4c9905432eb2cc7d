/// Reflection of config structs: one list per struct serves writing, reading, error messages and generated documentation.
///
/// A config struct names its members once, in the order in which they are written:
///
///     static constexpr auto fields() {
///       return std::tuple{field("w1", &Config::w1, "gate projection"), field("w2", &Config::w2, "down projection")};
///     }
///
/// Two kinds: an *operator config* is a leaf and has `static constexpr std::string_view kOp = "Linear";`, a *module config* is a
/// struct of its children's configs and has none. Enums get their names from a function found by argument-dependent lookup:
/// `constexpr auto enum_names(E)` returning `std::array<std::pair<E, std::string_view>, N>`.
#pragma once
#include <concepts>
#include <cstddef>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/field.hpp"

namespace meshseek {

// Versions of clang-format disagree about pointers to members and about requires.
// clang-format off

/// A struct with a fields() list.
template <class T>
concept HasFields = requires {
  std::tuple_size<decltype(std::remove_cvref_t<T>::fields())>::value;
};

/// A leaf: the config of one operator, named by kOp ("Linear").
template <class T>
concept OperatorConfig = HasFields<T> && requires {
  { std::remove_cvref_t<T>::kOp } -> std::convertible_to<std::string_view>;
};

/// A struct of configs: fields() but no kOp.
template <class T>
concept ModuleConfig = HasFields<T> && !OperatorConfig<T>;

/// An enum whose values have names (enum_names found by argument-dependent lookup).
template <class T>
concept NamedEnum = std::is_enum_v<T> && requires(T value) {
  enum_names(value).size();
};

// clang-format on

/// A field of an operator config that is empty while a rule makes its value from run-time sizes; `rule` is the field that holds the rule's parameters.
struct DynamicField {
  std::string_view name = {};
  std::string_view rule = {};
};

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

/// Calls visit(field, member&) for every field of the list, set or not; `field` carries name and help.
template <HasFields Config, class Visit>
constexpr void for_each_declared_field_info(Config& config, Visit&& visit) {
  std::apply([&](const auto&... one) { (static_cast<void>(visit(one, config.*(one.member))), ...); },
             std::remove_const_t<Config>::fields());
}

/// Calls visit(name, member&) for every field of the list, set or not.
template <HasFields Config, class Visit>
constexpr void for_each_declared_field(Config& config, Visit&& visit) {
  for_each_declared_field_info(config, [&](const auto& info, auto& member) { visit(info.name, member); });
}

/// Calls visit(name, member&) for every field that is set: an empty std::optional is skipped, a full one is visited as its value.
template <HasFields Config, class Visit>
constexpr void for_each_field(Config& config, Visit&& visit) {
  for_each_declared_field(config, [&](std::string_view name, auto& member) {
    if constexpr (IsOptional<std::remove_cvref_t<decltype(member)>>::value) {
      if (member) visit(name, *member);
    } else {
      visit(name, member);
    }
  });
}

/// Name of an enum value; empty when the value has none.
template <NamedEnum E>
constexpr std::string_view enum_name(E value) {
  for (const auto& [known, name] : enum_names(value)) {
    if (known == value) return name;
  }
  return {};
}

/// Value of a name; empty when no value has it.
template <NamedEnum E>
constexpr std::optional<E> enum_value(std::string_view given) {
  for (const auto& [known, name] : enum_names(E{})) {
    if (name == given) return known;
  }
  return std::nullopt;
}

}  // namespace meshseek

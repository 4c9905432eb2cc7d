/// Config structs to Trees and back, by their fields() lists.
///
///     Tree tree = to_tree(config);                                    // {"op": "Linear", "transpose_b": true, ...}
///     LinearConfig read = from_tree<LinearConfig>(tree, "model.layers.7.mlp.w1");
///
/// | C++                                   | JSON                                                                       |
/// |---------------------------------------|----------------------------------------------------------------------------|
/// | bool, integers, float, double, string | themselves; integers are range-checked                                     |
/// | enum with enum_names                  | its name                                                                   |
/// | std::optional                         | absent when unset (null is read as unset, too)                             |
/// | operator config (kOp)                 | {"op": kOp, fields...}                                                     |
/// | any other struct with fields()        | {fields...}                                                                |
/// | std::variant of structs with kType    | {"type": kType, fields...}                                                 |
/// | std::vector of submodules             | range patterns: {"0-2": {...}, "3-60": {...}}; also any field named "layers" |
/// | other std::vector, std::array         | array                                                                      |
///
/// A *submodule* is an operator config or a struct (or a variant of structs) that holds one at any depth. When read, an absent
/// plain field keeps its default, an absent submodule is an error, an absent optional is unset. Every error is a ConfigError that
/// starts with the dotted path. Field names "op" and "type" are reserved.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "config/fields.hpp"
#include "config/tree.hpp"

namespace meshseek {

template <class T>
Tree to_tree(const T& value);
/// \throws ConfigError "[where.field] ..." for an unknown or missing key, a wrong type, a value out of range
template <class T>
T from_tree(const Tree& tree, std::string_view where);

namespace serialise {

template <class T>
struct Kind {
  static constexpr bool is_vector = false, is_array = false, is_variant = false;
};
template <class T>
struct Kind<std::vector<T>> {
  static constexpr bool is_vector = true, is_array = false, is_variant = false;
};
template <class T, std::size_t N>
struct Kind<std::array<T, N>> {
  static constexpr bool is_vector = false, is_array = true, is_variant = false;
};
template <class... T>
struct Kind<std::variant<T...>> {
  static constexpr bool is_vector = false, is_array = false, is_variant = true;
};

template <class T>
struct HoldsOperator;

template <class Fields>
struct AnyFieldHoldsOperator;
template <class... F>
struct AnyFieldHoldsOperator<std::tuple<F...>> : std::bool_constant<(HoldsOperator<typename F::member_type>::value || ...)> {};

template <class T>
constexpr bool holds_operator_directly() {
  if constexpr (OperatorConfig<T>) {
    return true;
  } else if constexpr (HasFields<T>) {
    return AnyFieldHoldsOperator<decltype(T::fields())>::value;
  } else {
    return false;
  }
}

/// Whether a type is a submodule: an operator config, or something that holds one at any depth.
template <class T>
struct HoldsOperator : std::bool_constant<holds_operator_directly<T>()> {};
template <class T>
struct HoldsOperator<std::optional<T>> : HoldsOperator<T> {};
template <class T>
struct HoldsOperator<std::vector<T>> : HoldsOperator<T> {};
template <class T, std::size_t N>
struct HoldsOperator<std::array<T, N>> : HoldsOperator<T> {};
template <class... T>
struct HoldsOperator<std::variant<T...>> : std::bool_constant<(HoldsOperator<T>::value || ...)> {};

// The parts that need no template (serialise.cpp).
std::string path_of(std::string_view where, std::string_view name);
std::string path_of(std::string_view where, std::size_t element_idx);
Tree write_unsigned(std::uint64_t value);
Tree write_float(float value);
[[noreturn]] void throw_unnamed_enum(std::int64_t value);
std::int64_t read_integer(const Tree& tree, std::string_view where, std::int64_t min, std::int64_t max);
float read_float(const Tree& tree, std::string_view where);
/// Index of the string among the known ones. `what` names the kind of value in the message: "value", "type".
std::size_t read_name(const Tree& tree, std::string_view where, std::string_view what, std::span<const std::string_view> known);
/// The member "type" of a variant.
std::size_t read_type(const Tree& tree, std::string_view where, std::span<const std::string_view> known);
/// Checks "op" (when `op` is not empty) and that every other key is known; `has_type` lets "type" pass.
void check_keys(const Tree& tree, std::string_view where, std::string_view op, bool has_type, std::span<const std::string_view> known);
[[noreturn]] void throw_missing(std::string_view where, std::string_view name);
void check_array_size(std::size_t given, std::size_t expected, std::string_view where);
/// Makes the entries of a layer list one object with range patterns.
Tree write_layers(std::vector<Tree> layers);
std::int64_t num_layers(const Tree& tree, std::string_view where);
/// Visits the layers of a list in order.
void visit_layers(const Tree& tree, std::string_view where, const std::function<void(std::int64_t, const Tree&)>& visit);

template <class T>
void read(const Tree& tree, std::string_view where, T& out);

/// Names of a struct's fields, in order.
template <HasFields T>
constexpr auto field_names() {
  return std::apply([](const auto&... one) { return std::array<std::string_view, sizeof...(one)>{one.name...}; }, T::fields());
}

template <NamedEnum E>
constexpr auto names_of_enum() {
  constexpr auto kNames = enum_names(E{});
  std::array<std::string_view, kNames.size()> names = {};
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kNames[i].second;
  return names;
}

template <class Elements>
Tree write_layer_list(const Elements& elements) {
  std::vector<Tree> layers;
  for (const auto& element : elements) layers.push_back(to_tree(element));
  return write_layers(std::move(layers));
}

template <class T>
void write_field(Tree::Object& members, std::string_view name, const T& member) {
  if constexpr (IsOptional<T>::value) {
    if (member) write_field(members, name, *member);
  } else if constexpr (Kind<T>::is_vector) {
    if constexpr (HasFields<typename T::value_type>) {
      const bool is_layers = name == "layers" || HoldsOperator<T>::value;
      members.emplace_back(name, is_layers ? write_layer_list(member) : to_tree(member));
    } else {
      members.emplace_back(name, to_tree(member));
    }
  } else {
    members.emplace_back(name, to_tree(member));
  }
}

template <HasFields T>
void write_fields(Tree::Object& members, const T& value) {
  if constexpr (OperatorConfig<T>) members.emplace_back("op", Tree(std::string_view(T::kOp)));
  for_each_declared_field(value, [&](std::string_view name, const auto& member) { write_field(members, name, member); });
}

template <class T>
void read_layer_list(const Tree& tree, std::string_view where, std::vector<T>& out) {
  out.clear();
  out.reserve(static_cast<std::size_t>(num_layers(tree, where)));
  visit_layers(tree, where, [&](std::int64_t layer_idx, const Tree& layer) {
    read(layer, path_of(where, static_cast<std::size_t>(layer_idx)), out.emplace_back());
  });
}

template <class T>
void read_field(const Tree& tree, std::string_view where, std::string_view name, T& member) {
  const Tree* given = tree.find(name);
  if constexpr (IsOptional<T>::value) {
    // Reset even if the default is set: writing leaves an unset optional out.
    member.reset();
    if (given && !given->is_null()) read_field(tree, where, name, member.emplace());
  } else if (!given) {
    if constexpr (HoldsOperator<T>::value) throw_missing(where, name);
  } else if constexpr (Kind<T>::is_vector) {
    if constexpr (HasFields<typename T::value_type>) {
      if (name == "layers") return read_layer_list(*given, path_of(where, name), member);
    }
    read(*given, path_of(where, name), member);
  } else {
    read(*given, path_of(where, name), member);
  }
}

template <HasFields T>
void read_fields(const Tree& tree, std::string_view where, bool has_type, T& out) {
  static constexpr auto kNames = field_names<T>();
  if constexpr (OperatorConfig<T>) {
    check_keys(tree, where, T::kOp, has_type, kNames);
  } else {
    check_keys(tree, where, {}, has_type, kNames);
  }
  for_each_declared_field(out, [&](std::string_view name, auto& member) { read_field(tree, where, name, member); });
}

template <class... T>
void read_variant(const Tree& tree, std::string_view where, std::variant<T...>& out) {
  static constexpr std::array<std::string_view, sizeof...(T)> kTypes = {T::kType...};
  const std::size_t chosen = read_type(tree, where, kTypes);
  std::size_t index = 0;
  ((index++ == chosen ? read_fields(tree, where, true, out.template emplace<T>()) : void()), ...);
}

template <class T>
void read_elements(const Tree& tree, std::string_view where, T& out) {
  const Tree::Array& elements = tree.as_array(where);
  if constexpr (Kind<T>::is_array) {
    check_array_size(elements.size(), out.size(), where);
    for (std::size_t i = 0; i < out.size(); ++i) read(elements[i], path_of(where, i), out[i]);
  } else {
    out.clear();
    for (std::size_t i = 0; i < elements.size(); ++i) {
      typename T::value_type element = {};
      read(elements[i], path_of(where, i), element);
      out.push_back(std::move(element));
    }
  }
}

template <class T>
void read_integer(const Tree& tree, std::string_view where, T& out) {
  constexpr std::int64_t kLimit = std::numeric_limits<std::int64_t>::max();
  constexpr auto kMin = static_cast<std::int64_t>(std::numeric_limits<T>::min());
  constexpr bool kExceeds = std::cmp_greater(std::numeric_limits<T>::max(), kLimit);
  constexpr std::int64_t kMax = kExceeds ? kLimit : static_cast<std::int64_t>(std::numeric_limits<T>::max());
  out = static_cast<T>(read_integer(tree, where, kMin, kMax));
}

template <class T>
void read(const Tree& tree, std::string_view where, T& out) {
  if constexpr (std::is_same_v<T, Tree>) {
    out = tree;
  } else if constexpr (std::is_same_v<T, bool>) {
    out = tree.as_bool(where);
  } else if constexpr (std::is_integral_v<T>) {
    read_integer(tree, where, out);
  } else if constexpr (std::is_same_v<T, float>) {
    out = read_float(tree, where);
  } else if constexpr (std::is_same_v<T, double>) {
    out = tree.as_number(where);
  } else if constexpr (std::is_same_v<T, std::string>) {
    out = tree.as_string(where);
  } else if constexpr (NamedEnum<T>) {
    static constexpr auto kNames = names_of_enum<T>();
    out = enum_names(T{})[read_name(tree, where, "value", kNames)].first;
  } else if constexpr (IsOptional<T>::value) {
    out.reset();
    if (!tree.is_null()) read(tree, where, out.emplace());
  } else if constexpr (Kind<T>::is_variant) {
    read_variant(tree, where, out);
  } else if constexpr (HasFields<T>) {
    read_fields(tree, where, false, out);
  } else if constexpr (Kind<T>::is_vector && HoldsOperator<T>::value) {
    read_layer_list(tree, where, out);
  } else {
    static_assert(Kind<T>::is_vector || Kind<T>::is_array, "a config member of this type cannot be read; give it fields()");
    read_elements(tree, where, out);
  }
}

template <class T>
Tree write_elements(const T& elements) {
  Tree::Array array;
  for (const auto& element : elements) array.push_back(to_tree(element));
  return Tree(std::move(array));
}

template <class... T>
Tree write_variant(const std::variant<T...>& value) {
  return std::visit(
      [](const auto& chosen) {
        Tree::Object members;
        members.emplace_back("type", Tree(std::string_view(std::remove_cvref_t<decltype(chosen)>::kType)));
        write_fields(members, chosen);
        return Tree(std::move(members));
      },
      value);
}

template <NamedEnum E>
Tree write_enum(E value) {
  const std::string_view name = enum_name(value);
  if (name.empty()) throw_unnamed_enum(static_cast<std::int64_t>(value));
  return Tree(name);
}

}  // namespace serialise

template <class T>
Tree to_tree(const T& value) {
  using serialise::Kind;
  if constexpr (std::is_same_v<T, Tree> || std::is_same_v<T, bool> || std::is_same_v<T, double> || std::is_same_v<T, std::string>) {
    return Tree(value);
  } else if constexpr (std::is_unsigned_v<T>) {
    return serialise::write_unsigned(value);
  } else if constexpr (std::is_integral_v<T>) {
    return Tree(std::int64_t{value});
  } else if constexpr (std::is_same_v<T, float>) {
    return serialise::write_float(value);
  } else if constexpr (NamedEnum<T>) {
    return serialise::write_enum(value);
  } else if constexpr (IsOptional<T>::value) {
    return value ? to_tree(*value) : Tree();
  } else if constexpr (Kind<T>::is_variant) {
    return serialise::write_variant(value);
  } else if constexpr (HasFields<T>) {
    Tree::Object members;
    serialise::write_fields(members, value);
    return Tree(std::move(members));
  } else if constexpr (Kind<T>::is_vector && serialise::HoldsOperator<T>::value) {
    return serialise::write_layer_list(value);
  } else {
    static_assert(Kind<T>::is_vector || Kind<T>::is_array, "a config member of this type cannot be written; give it fields()");
    return serialise::write_elements(value);
  }
}

template <class T>
T from_tree(const Tree& tree, std::string_view where) {
  T value = {};
  serialise::read(tree, where, value);
  return value;
}

}  // namespace meshseek

/// JSON Schemas of config files, made from the fields() lists.
///
/// A schema says what a reader can find wrong with one value at a time. That patterns overlap, that a layer is not covered or that a weight is missing are
/// rules about several values; those the program checks alone.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "config/fields.hpp"
#include "config/serialise.hpp"
#include "config/tree.hpp"

namespace meshseek::schema {

/// Which file a schema is for.
enum class Kind : std::uint8_t {
  config,  ///< model config: operators have their "op"; below layer patterns modules may be incomplete, because patterns are merged
  overlay  ///< every field may be left out
};

/// Definitions of operators, filled while a schema is made: "#/$defs/Linear".
class Definitions {
 public:
  bool contains(std::string_view name) const { return tree_.find(name) != nullptr; }
  void add(std::string name, Tree schema) { tree_.set(std::move(name), std::move(schema)); }
  const Tree& tree() const { return tree_; }

 private:
  Tree tree_ = Tree(Tree::Object{});
};

Tree object_schema(Tree properties, const std::vector<std::string>& required);
/// An object whose keys are layer patterns and whose values follow `element`.
Tree layers_schema(Tree element);
Tree any_of(std::vector<Tree> schemas);
Tree type_schema(std::string_view type);
Tree integer_schema(std::int64_t min, std::int64_t max);
Tree enum_schema(const std::vector<std::string_view>& values);
Tree reference(std::string_view definition);

template <class T>
Tree of(Kind kind, bool partial, Definitions& definitions);

/// The properties of a struct's fields. \param partial submodules may be left out
template <HasFields T>
Tree struct_schema(Kind kind, bool partial, Definitions& definitions, std::string_view type = {}) {
  Tree properties(Tree::Object{});
  std::vector<std::string> required;
  const auto add_name = [&](const char* key, std::string_view name) {
    Tree constant;
    constant.set("const", Tree(name));
    properties.set(key, std::move(constant));
    if (kind == Kind::config) required.emplace_back(key);
  };
  if constexpr (OperatorConfig<T>) add_name("op", T::kOp);
  if (!type.empty()) add_name("type", type);
  const T defaults = {};
  for_each_declared_field_info(defaults, [&](const auto& info, const auto& member) {
    using Member = std::remove_cvref_t<decltype(member)>;
    Tree property = of<Member>(kind, partial, definitions);
    if (property.find("$ref") == nullptr) property.set("description", Tree(info.help));
    properties.set(std::string(info.name), std::move(property));
    const bool is_submodule = serialise::HoldsOperator<Member>::value && !IsOptional<Member>::value;
    if (kind == Kind::config && !partial && is_submodule) required.emplace_back(info.name);
  });
  return object_schema(std::move(properties), required);
}

template <class... T>
Tree variant_schema(std::variant<T...>*, Kind kind, Definitions& definitions) {
  return any_of({struct_schema<T>(kind, false, definitions, T::kType)...});
}

template <class T>
Tree element_schema(Kind kind, Definitions& definitions) {
  using Element = typename T::value_type;
  if constexpr (serialise::HoldsOperator<T>::value) {
    return layers_schema(of<Element>(kind, true, definitions));
  } else {
    Tree array = type_schema("array");
    array.set("items", of<Element>(kind, false, definitions));
    return array;
  }
}

/// The schema of one C++ type, by the table in config/serialise.hpp.
template <class T>
Tree of(Kind kind, bool partial, Definitions& definitions) {
  if constexpr (std::is_same_v<T, bool>) {
    return type_schema("boolean");
  } else if constexpr (NamedEnum<T>) {
    static constexpr auto kNames = serialise::names_of_enum<T>();
    return enum_schema({kNames.begin(), kNames.end()});
  } else if constexpr (std::is_integral_v<T>) {
    constexpr std::int64_t kLimit = std::numeric_limits<std::int64_t>::max();
    constexpr bool kExceeds = std::cmp_greater(std::numeric_limits<T>::max(), kLimit);
    return integer_schema(static_cast<std::int64_t>(std::numeric_limits<T>::min()),
                          kExceeds ? kLimit : static_cast<std::int64_t>(std::numeric_limits<T>::max()));
  } else if constexpr (std::is_floating_point_v<T>) {
    return type_schema("number");
  } else if constexpr (std::is_same_v<T, std::string>) {
    return type_schema("string");
  } else if constexpr (IsOptional<T>::value) {
    // An overlay does not take submodules away.
    if (kind == Kind::overlay && serialise::HoldsOperator<T>::value) return of<typename T::value_type>(kind, partial, definitions);
    return any_of({of<typename T::value_type>(kind, partial, definitions), type_schema("null")});
  } else if constexpr (serialise::Kind<T>::is_variant) {
    return variant_schema(static_cast<T*>(nullptr), kind, definitions);
  } else if constexpr (OperatorConfig<T>) {
    if (!definitions.contains(T::kOp)) definitions.add(std::string(T::kOp), struct_schema<T>(kind, false, definitions));
    return reference(T::kOp);
  } else if constexpr (HasFields<T>) {
    return struct_schema<T>(kind, partial, definitions);
  } else {
    return element_schema<T>(kind, definitions);
  }
}

}  // namespace meshseek::schema

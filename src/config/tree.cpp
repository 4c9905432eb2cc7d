#include "config/tree.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "config/names.hpp"

namespace meshseek {
namespace {

[[noreturn]] void throw_wrong_type(std::string_view where, std::string_view expected, const Tree& given) {
  throw ConfigError(fmt::format("[{}] expected {}, got {}", where, expected, describe(given)));
}

template <class ObjectType>
auto* find_member(ObjectType& object, std::string_view key) {
  const auto found = std::find_if(object.begin(), object.end(), [&](const auto& member) { return member.first == key; });
  return found == object.end() ? nullptr : &found->second;
}

}  // namespace

std::string_view Tree::type_name() const {
  constexpr std::string_view kNames[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
  return kNames[value_.index()];
}

bool Tree::as_bool(std::string_view where) const {
  if (!is_bool()) throw_wrong_type(where, "true or false", *this);
  return std::get<bool>(value_);
}

std::int64_t Tree::as_integer(std::string_view where) const {
  if (!is_integer()) throw_wrong_type(where, "an integer", *this);
  return std::get<std::int64_t>(value_);
}

double Tree::as_number(std::string_view where) const {
  if (is_integer()) return static_cast<double>(std::get<std::int64_t>(value_));
  if (!is_number()) throw_wrong_type(where, "a number", *this);
  return std::get<double>(value_);
}

const std::string& Tree::as_string(std::string_view where) const {
  if (!is_string()) throw_wrong_type(where, "a string", *this);
  return std::get<std::string>(value_);
}

const Tree::Array& Tree::as_array(std::string_view where) const {
  if (!is_array()) throw_wrong_type(where, "an array", *this);
  return std::get<Array>(value_);
}

const Tree::Object& Tree::as_object(std::string_view where) const {
  if (!is_object()) throw_wrong_type(where, "an object", *this);
  return std::get<Object>(value_);
}

const Tree* Tree::find(std::string_view key) const {
  const Object* members = std::get_if<Object>(&value_);
  return members ? find_member(*members, key) : nullptr;
}

Tree* Tree::find(std::string_view key) {
  Object* members = std::get_if<Object>(&value_);
  return members ? find_member(*members, key) : nullptr;
}

bool Tree::flag(std::string_view key, std::string_view where) const {
  const Tree* member = find(key);
  return member != nullptr && member->as_bool(fmt::format("{} {}", where, key));
}

Tree& Tree::set(std::string key, Tree value) {
  if (is_null()) value_ = Object{};
  if (!is_object()) throw_wrong_type(key, "an object around this key", *this);
  if (Tree* existing = find(key)) {
    *existing = std::move(value);
    return *existing;
  }
  return object().emplace_back(std::move(key), std::move(value)).second;
}

std::string describe(const Tree& tree) {
  if (tree.is_null()) return "null";
  if (tree.is_array()) return fmt::format("an array of {}", tree.as_array("").size());
  if (tree.is_object()) return "an object";
  if (tree.is_number() && !tree.is_integer()) return fmt::format("a number ({})", tree.as_number(""));
  const std::string shown = tree.is_string() ? in_quotes(tree.as_string("")) : to_json_line(tree);
  return fmt::format("{} {} ({})", tree.is_integer() ? "an" : "a", tree.type_name(), shown);
}

}  // namespace meshseek

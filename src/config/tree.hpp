/// An ordered JSON value: what configs, weight configs and every JSON file are read into and written from.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace meshseek {

/// null, bool, integer, number, string, array or object; objects keep the order of their keys.
class Tree {
 public:
  using Array = std::vector<Tree>;
  using Member = std::pair<std::string, Tree>;
  using Object = std::vector<Member>;

  Tree() = default;  ///< null
  Tree(bool value) : value_(value) {}
  Tree(std::int64_t value) : value_(value) {}
  Tree(int value) : value_(std::int64_t{value}) {}
  Tree(double value) : value_(value) {}
  Tree(std::string value) : value_(std::move(value)) {}
  Tree(std::string_view value) : value_(std::string(value)) {}
  Tree(const char* value) : value_(std::string(value)) {}
  Tree(Array value) : value_(std::move(value)) {}
  Tree(Object value) : value_(std::move(value)) {}

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(value_); }
  bool is_number() const { return is_integer() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }
  std::string_view type_name() const;  ///< "null", "boolean", "integer", "number", "string", "array", "object"

  /// Typed access; `where` names the value in the error. \throws ConfigError "[where] expected an integer, got a string ("x")".
  bool as_bool(std::string_view where) const;
  std::int64_t as_integer(std::string_view where) const;
  double as_number(std::string_view where) const;  ///< integers convert
  const std::string& as_string(std::string_view where) const;
  const Array& as_array(std::string_view where) const;
  const Object& as_object(std::string_view where) const;
  Array& array() { return std::get<Array>(value_); }
  Object& object() { return std::get<Object>(value_); }

  /// Member of an object by key; null pointer when absent or when this is no object. Linear in the number of members.
  const Tree* find(std::string_view key) const;
  Tree* find(std::string_view key);
  /// A boolean member; false when it is absent. \param where this object, for messages \throws ConfigError for another type
  bool flag(std::string_view key, std::string_view where) const;
  /// Sets or appends a member; a null tree becomes an object first.
  Tree& set(std::string key, Tree value);

  friend bool operator==(const Tree&, const Tree&) = default;

 private:
  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;
};

/// Names a value in an error message: its type and a short form of it, e.g. `a string ("x")`, `an object`. One line.
std::string describe(const Tree& tree);

/// Deepest nesting that parse_json accepts and to_json writes.
inline constexpr int kMaxTreeDepth = 200;

/// Parses JSON strictly: UTF-8, no duplicate keys, nesting <= 200, integers within 64 bits signed, finite numbers.
/// Numbers with a point or an exponent become doubles, all others integers. Linear in the size of the text.
/// \throws ConfigError "[where:line:column] ..."; columns count bytes from 1.
Tree parse_json(std::string_view text, const std::string& where);
/// JSON text: two-space indentation, arrays of scalars on one line, shortest round-trip numbers (a double always shows
/// a point or an exponent, so that it stays one), a newline at the end; byte-identical after parse and print.
/// \throws ConfigError when a number is not finite, a string is not UTF-8 or the nesting exceeds kMaxTreeDepth.
std::string to_json(const Tree& tree);
/// One line without spaces.
std::string to_json_line(const Tree& tree);

}  // namespace meshseek

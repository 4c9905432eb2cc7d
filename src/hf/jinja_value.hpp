/// Values of chat templates, with the behaviour of their Python counterparts.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "config/tree.hpp"

namespace meshseek {

/// An operation that Python refuses; the evaluator adds the line.
class JinjaFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class JinjaValue;
struct JinjaList;
struct JinjaDict;
struct JinjaNamespace;

/// An absent variable, key or element: prints as nothing, is false, and refuses most operations.
struct JinjaUndefined {
  std::string name = {};
};

/// What a list is in Python. A view is the result of items(), keys() or values(): loops take it, but it has no indexes and no JSON.
enum class JinjaSequence { List, Tuple, View };

/// Immutable but for namespaces; copying is cheap.
class JinjaValue {
 public:
  using Storage = std::variant<std::monostate, JinjaUndefined, bool, std::int64_t, double, std::shared_ptr<const std::string>,
                               std::shared_ptr<const JinjaList>, std::shared_ptr<const JinjaDict>, std::shared_ptr<JinjaNamespace>>;

  JinjaValue() = default;  ///< none
  explicit JinjaValue(bool value) : value_(value) {}
  explicit JinjaValue(std::int64_t value) : value_(value) {}
  explicit JinjaValue(double value) : value_(value) {}
  explicit JinjaValue(std::string value) : value_(std::make_shared<const std::string>(std::move(value))) {}
  explicit JinjaValue(std::shared_ptr<JinjaNamespace> value) : value_(std::move(value)) {}
  /// \throws JinjaFault when values nest too deeply or are too large, or one is a namespace (which could then contain itself).
  explicit JinjaValue(std::vector<JinjaValue> items, JinjaSequence form = JinjaSequence::List);
  explicit JinjaValue(std::vector<std::pair<std::string, JinjaValue>> members);
  static JinjaValue undefined(std::string name);
  static JinjaValue from_tree(const Tree& tree);

  bool is_none() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_undefined() const { return std::holds_alternative<JinjaUndefined>(value_); }
  const bool* boolean() const { return std::get_if<bool>(&value_); }
  const std::int64_t* integer() const { return std::get_if<std::int64_t>(&value_); }
  const double* real() const { return std::get_if<double>(&value_); }
  const std::string* string() const { return pointee<const std::string>(); }
  const JinjaList* list() const { return pointee<const JinjaList>(); }
  const JinjaDict* dict() const { return pointee<const JinjaDict>(); }
  JinjaNamespace* name_space() const { return pointee<JinjaNamespace>(); }

  bool truth() const;
  /// Nesting of lists and objects; 0 for scalars.
  std::size_t depth() const;
  /// Work of walking through the value: one for each part, and one for every 64 bytes of text.
  std::size_t weight() const;
  /// "string", "list", ... for messages; an undefined value gives its name.
  std::string describe() const;
  /// What `{{ value }}` prints: Python's str(). \throws JinjaFault for a namespace.
  std::string to_text() const;
  /// Python's json.dumps(ensure_ascii=False); `indent` < 0: one line. \throws JinjaFault for what is no JSON value.
  std::string to_json(int indent) const;
  /// Python's `==`: numbers and booleans compare by value.
  bool equals(const JinjaValue& other) const;

 private:
  template <class T>
  T* pointee() const {
    const auto* pointer = std::get_if<std::shared_ptr<T>>(&value_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  Storage value_;
};

/// As in Python, where booleans are numbers; empty for what is none.
std::optional<double> number_of(const JinjaValue& value);

struct JinjaList {
  std::vector<JinjaValue> items = {};
  JinjaSequence form = JinjaSequence::List;
  std::size_t depth = 1;
  std::size_t weight = 1;
};

struct JinjaDict {
  std::vector<std::pair<std::string, JinjaValue>> members = {};
  std::size_t depth = 1;
  std::size_t weight = 1;

  /// Null when absent.
  const JinjaValue* find(std::string_view key) const;
};

/// `namespace(...)`: the one thing that a template can change.
struct JinjaNamespace {
  std::map<std::string, JinjaValue, std::less<>> attributes = {};
};

}  // namespace meshseek

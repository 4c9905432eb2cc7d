/// Operators, methods, filters and tests of chat templates: what works on values alone.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hf/jinja_value.hpp"

namespace meshseek {

/// Arguments of a call.
struct JinjaArguments {
  std::vector<JinjaValue> positional = {};
  std::vector<std::pair<std::string, JinjaValue>> keywords = {};
};

bool is_jinja_filter(std::string_view name);
bool is_jinja_test(std::string_view name);

/// All throw JinjaFault where Python raises.
JinjaValue apply_jinja_filter(std::string_view name, const JinjaValue& input, const JinjaArguments& arguments);
bool apply_jinja_test(std::string_view name, const JinjaValue& input);
JinjaValue call_jinja_method(const JinjaValue& object, const std::string& name, const JinjaArguments& arguments);

/// `object.name` without a call: a key or a namespace attribute; undefined when absent.
JinjaValue get_jinja_attribute(const JinjaValue& object, const std::string& name);
/// `object[key]`.
JinjaValue get_jinja_item(const JinjaValue& object, const JinjaValue& key);
/// `object[start:stop:step]`; none stands for a bound that was left out.
JinjaValue slice_jinja(const JinjaValue& object, const JinjaValue& start, const JinjaValue& stop, const JinjaValue& step);
/// + - * ~
JinjaValue jinja_binary(std::string_view name, const JinjaValue& left, const JinjaValue& right);
JinjaValue jinja_negate(const JinjaValue& operand);
/// == != < <= > >= in, not in
bool jinja_compare(std::string_view name, const JinjaValue& left, const JinjaValue& right);
/// What a `for` loop goes through: elements, keys, characters; nothing for an undefined value.
std::vector<JinjaValue> jinja_elements(const JinjaValue& value);

}  // namespace meshseek

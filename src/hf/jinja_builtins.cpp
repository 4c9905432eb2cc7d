#include "hf/jinja_builtins.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "hf/unicode.hpp"
#include "hf/unicode_classes.hpp"

namespace meshseek {
namespace {

const JinjaValue* keyword(const JinjaArguments& arguments, std::string_view name) {
  const auto found = std::ranges::find(arguments.keywords, name, [](const auto& entry) { return std::string_view(entry.first); });
  return found == arguments.keywords.end() ? nullptr : &found->second;
}

/// Argument by position or name; null when it is not given.
const JinjaValue* argument(const JinjaArguments& arguments, std::size_t position, std::string_view name) {
  return position < arguments.positional.size() ? &arguments.positional[position] : keyword(arguments, name);
}

/// Refuses what a filter or a method does not know: arguments that were dropped would change the text without a word.
void check_arguments(std::string_view name, const JinjaArguments& arguments, std::size_t most,
                     std::initializer_list<std::string_view> names) {
  if (arguments.positional.size() > most)
    throw JinjaFault(fmt::format("{} takes {} arguments, not {}", name, most, arguments.positional.size()));
  for (const auto& entry : arguments.keywords) {
    if (std::ranges::find(names, entry.first) == names.end()) throw JinjaFault(fmt::format("{} has no argument '{}'", name, entry.first));
  }
}

const std::string& text_of(const JinjaValue& value, std::string_view where) {
  if (value.string() == nullptr) throw JinjaFault(fmt::format("{} needs a string, not {}", where, value.describe()));
  return *value.string();
}

bool is_space(char32_t c) {
  if (c >= 0x1C && c <= 0x1F) return true;  // Python counts the separators as white space
  return std::ranges::any_of(unicode_class("space"), [c](const CodePointRange& range) { return range.first <= c && c <= range.last; });
}

/// Python's strip family. `set` null: white space.
JinjaValue stripped(const std::string& input, const std::string* set, bool left, bool right) {
  const std::u32string text = decode_utf8(input, "chat template");
  const std::u32string chars = set == nullptr ? U"" : decode_utf8(*set, "chat template");
  const auto goes = [&](char32_t c) { return set == nullptr ? is_space(c) : chars.find(c) != std::u32string::npos; };
  std::size_t begin = 0;
  std::size_t end = text.size();
  while (left && begin < end && goes(text[begin])) ++begin;
  while (right && end > begin && goes(text[end - 1])) --end;
  std::string out;
  for (std::size_t i = begin; i < end; ++i) append_utf8(out, text[i]);
  return JinjaValue(std::move(out));
}

JinjaValue strip_method(const std::string& name, const std::string& text, const JinjaArguments& arguments) {
  check_arguments(name, arguments, 1, {});
  const std::string* set =
      arguments.positional.empty() || arguments.positional[0].is_none() ? nullptr : &text_of(arguments.positional[0], name);
  return stripped(text, set, name != "rstrip", name != "lstrip");
}

JinjaValue split_method(const std::string& text, const JinjaArguments& arguments) {
  check_arguments("split", arguments, 2, {"sep", "maxsplit"});
  const JinjaValue* separator = argument(arguments, 0, "sep");
  if (separator == nullptr) throw JinjaFault("split without a separator is not supported");
  const std::string& sep = text_of(*separator, "split");
  if (sep.empty()) throw JinjaFault("split with an empty separator");
  const JinjaValue* most = argument(arguments, 1, "maxsplit");
  if (most != nullptr && most->integer() == nullptr) throw JinjaFault(fmt::format("split at most {} times", most->describe()));
  std::int64_t left = most == nullptr ? -1 : *most->integer();
  std::vector<JinjaValue> out;
  std::size_t begin = 0;
  for (std::size_t end = text.find(sep); end != std::string::npos && left != 0; end = text.find(sep, begin), --left) {
    out.emplace_back(text.substr(begin, end - begin));
    begin = end + sep.size();
  }
  out.emplace_back(text.substr(begin));
  return JinjaValue(std::move(out));
}

JinjaValue string_method(const std::string& text, const std::string& name, const JinjaArguments& arguments) {
  if (name == "split") return split_method(text, arguments);
  if (name == "strip" || name == "lstrip" || name == "rstrip") return strip_method(name, text, arguments);
  if (name != "startswith" && name != "endswith") throw JinjaFault(fmt::format("the method '{}' of a string is not supported", name));
  check_arguments(name, arguments, 1, {});
  if (arguments.positional.empty()) throw JinjaFault(fmt::format("{} without an argument", name));
  const std::string& part = text_of(arguments.positional[0], name);
  return JinjaValue(name == "startswith" ? text.starts_with(part) : text.ends_with(part));
}

JinjaValue dict_method(const JinjaDict& dict, const std::string& name, const JinjaArguments& arguments) {
  if (name == "get") {
    check_arguments(name, arguments, 2, {});
    if (arguments.positional.empty()) throw JinjaFault("get without a key");
    const JinjaValue* value = arguments.positional[0].string() == nullptr ? nullptr : dict.find(*arguments.positional[0].string());
    if (value != nullptr) return *value;
    return arguments.positional.size() == 2 ? arguments.positional[1] : JinjaValue();
  }
  if (name != "items" && name != "keys" && name != "values")
    throw JinjaFault(fmt::format("the method '{}' of an object is not supported", name));
  check_arguments(name, arguments, 0, {});
  std::vector<JinjaValue> out;
  for (const auto& [key, value] : dict.members) {
    if (name == "values") {
      out.push_back(value);
    } else {
      out.push_back(name == "keys" ? JinjaValue(key) : JinjaValue(std::vector<JinjaValue>{JinjaValue(key), value}, JinjaSequence::Tuple));
    }
  }
  return JinjaValue(std::move(out), JinjaSequence::View);
}

JinjaValue tojson_filter(const JinjaValue& input, const JinjaArguments& arguments) {
  check_arguments("tojson", arguments, 0, {"indent", "ensure_ascii"});
  const JinjaValue* ascii = keyword(arguments, "ensure_ascii");
  if (ascii != nullptr && ascii->truth()) throw JinjaFault("tojson with ensure_ascii is not supported");
  const JinjaValue* indent = keyword(arguments, "indent");
  if (indent == nullptr || indent->is_none()) return JinjaValue(input.to_json(-1));
  const std::int64_t* width = indent->integer();
  if (width == nullptr || *width < 0 || *width > 16) throw JinjaFault("tojson needs an indent from 0 to 16");
  return JinjaValue(input.to_json(static_cast<int>(*width)));
}

JinjaValue from_json_filter(const JinjaValue& input, const JinjaArguments& arguments) {
  check_arguments("from_json", arguments, 0, {});
  try {
    return JinjaValue::from_tree(parse_json(text_of(input, "from_json"), "from_json"));
  } catch (const JinjaFault&) {
    throw;
  } catch (const std::exception& error) {
    throw JinjaFault(error.what());
  }
}

JinjaValue length_filter(const JinjaValue& input, const JinjaArguments& arguments) {
  check_arguments("length", arguments, 0, {});
  std::size_t count = 0;
  if (const std::string* text = input.string()) {
    count = decode_utf8(*text, "chat template").size();
  } else {
    if (input.is_undefined()) return JinjaValue(std::int64_t{0});
    count = jinja_elements(input).size();
  }
  return JinjaValue(static_cast<std::int64_t>(count));
}

JinjaValue trim_filter(const JinjaValue& input, const JinjaArguments& arguments) {
  check_arguments("trim", arguments, 0, {});
  return stripped(input.to_text(), nullptr, true, true);
}

JinjaValue default_filter(const JinjaValue& input, const JinjaArguments& arguments) {
  check_arguments("default", arguments, 2, {"default_value", "boolean"});
  const JinjaValue* value = argument(arguments, 0, "default_value");
  const JinjaValue* boolean = argument(arguments, 1, "boolean");
  const bool replace = input.is_undefined() || (boolean != nullptr && boolean->truth() && !input.truth());
  if (!replace) return input;
  return value == nullptr ? JinjaValue(std::string()) : *value;
}

using Filter = JinjaValue (*)(const JinjaValue&, const JinjaArguments&);
using Test = bool (*)(const JinjaValue&);

const std::map<std::string_view, Filter>& filters() {
  static const std::map<std::string_view, Filter> table = {{"tojson", tojson_filter},
                                                           {"from_json", from_json_filter},
                                                           {"length", length_filter},
                                                           {"trim", trim_filter},
                                                           {"default", default_filter}};
  return table;
}

const std::map<std::string_view, Test>& tests() {
  static const std::map<std::string_view, Test> table = {
      {"defined", [](const JinjaValue& value) { return !value.is_undefined(); }},
      {"undefined", [](const JinjaValue& value) { return value.is_undefined(); }},
      {"none", [](const JinjaValue& value) { return value.is_none(); }},
      {"string", [](const JinjaValue& value) { return value.string() != nullptr; }},
      {"mapping", [](const JinjaValue& value) { return value.dict() != nullptr; }},
      {"boolean", [](const JinjaValue& value) { return value.boolean() != nullptr; }},
      {"true", [](const JinjaValue& value) { return value.boolean() != nullptr && *value.boolean(); }},
      {"false", [](const JinjaValue& value) { return value.boolean() != nullptr && !*value.boolean(); }},
  };
  return table;
}

}  // namespace

bool is_jinja_filter(std::string_view name) { return filters().contains(name); }
bool is_jinja_test(std::string_view name) { return tests().contains(name); }

JinjaValue apply_jinja_filter(std::string_view name, const JinjaValue& input, const JinjaArguments& arguments) {
  return filters().at(name)(input, arguments);
}

bool apply_jinja_test(std::string_view name, const JinjaValue& input) { return tests().at(name)(input); }

JinjaValue call_jinja_method(const JinjaValue& object, const std::string& name, const JinjaArguments& arguments) {
  if (const std::string* text = object.string()) return string_method(*text, name, arguments);
  if (const JinjaDict* dict = object.dict()) return dict_method(*dict, name, arguments);
  throw JinjaFault(fmt::format("the method '{}' of {}", name, object.describe()));
}

}  // namespace meshseek

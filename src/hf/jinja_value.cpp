#include "hf/jinja_value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "hf/unicode.hpp"
#include "hf/unicode_classes.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kMaxDepth = 400;

constexpr std::size_t kMaxWeight = std::size_t{1} << 24;
constexpr std::size_t kMaxPrintedBytes = std::size_t{64} << 20;

/// Counts a part of a list or an object. Parts may be shared, so a small template could otherwise build a value of 2^n parts.
template <class Container>
void account(Container& whole, const JinjaValue& item) {
  if (item.name_space() != nullptr) throw JinjaFault("a namespace inside of another value is not supported");
  if (item.depth() >= kMaxDepth) throw JinjaFault(fmt::format("values nest deeper than {} levels", kMaxDepth));
  whole.depth = std::max(whole.depth, item.depth() + 1);
  whole.weight += item.weight();
  if (whole.weight > kMaxWeight) throw JinjaFault("a list or an object grows too large");
}

/// Python's repr of a float: the shortest digits that read back, an exponent from 1e16 and below 1e-4, which is also fmt's choice.
std::string float_text(double value, bool json) {
  if (std::isnan(value)) return json ? "NaN" : "nan";
  if (std::isinf(value)) return value < 0 ? (json ? "-Infinity" : "-inf") : (json ? "Infinity" : "inf");
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

bool is_printable(std::uint32_t code_point) {
  if (code_point < 0x7F) return code_point >= 0x20;
  for (const std::string_view name : {"L", "M", "N", "P", "S"}) {
    const auto ranges = unicode_class(name);
    const auto found = std::ranges::lower_bound(ranges, code_point, {}, &CodePointRange::last);
    if (found != ranges.end() && found->first <= code_point) return true;
  }
  return false;
}

void append_repr_char(std::string& out, std::uint32_t c, char quote) {
  if (c == '\n') {
    out += "\\n";
  } else if (c == '\r') {
    out += "\\r";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c == '\\' || c == static_cast<std::uint32_t>(quote)) {
    out += '\\';
    out += static_cast<char>(c);
  } else if (is_printable(c)) {
    append_utf8(out, c);
  } else {
    out += c < 0x100 ? fmt::format("\\x{:02x}", c) : c < 0x10000 ? fmt::format("\\u{:04x}", c) : fmt::format("\\U{:08x}", c);
  }
}

std::string repr_of_string(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char32_t c : decode_utf8(text, "chat template")) append_repr_char(out, c, quote);
  return out + quote;
}

std::string json_string(const std::string& text) {
  static constexpr std::string_view kSpecial = "\"\\\n\r\t\f\b";
  static constexpr std::string_view kLetters = "\"\\nrtfb";
  std::string out = "\"";
  for (const char c : text) {
    const std::size_t special = kSpecial.find(c);
    if (special != std::string_view::npos) {
      out += '\\';
      out += kLetters[special];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

/// One of Python's two spellings of nested values: repr(), or json.dumps().
class Printer {
 public:
  Printer(bool json, int indent) : json_(json), indent_(indent) {}

  void print(const JinjaValue& value) {
    if (out_.size() > kMaxPrintedBytes) throw JinjaFault(fmt::format("a printed value is longer than {} bytes", kMaxPrintedBytes));
    if (value.is_none()) {
      out_ += json_ ? "null" : "None";
    } else if (const bool* flag = value.boolean()) {
      out_ += *flag ? (json_ ? "true" : "True") : (json_ ? "false" : "False");
    } else if (const std::int64_t* number = value.integer()) {
      out_ += fmt::format("{}", *number);
    } else if (const double* real = value.real()) {
      out_ += float_text(*real, json_);
    } else if (const std::string* text = value.string()) {
      out_ += json_ ? json_string(*text) : repr_of_string(*text);
    } else if (const JinjaList* list = value.list(); list != nullptr && list->form != JinjaSequence::View) {
      const bool tuple = list->form == JinjaSequence::Tuple && !json_;
      const std::string_view close = !tuple ? "]" : list->items.size() == 1 ? ",)" : ")";
      print_items(tuple ? "(" : "[", list->items, close, [this](const JinjaValue& item) { print(item); });
    } else if (const JinjaDict* dict = value.dict()) {
      print_items("{", dict->members, "}", [this](const auto& member) {
        print(JinjaValue(member.first));
        out_ += ": ";
        print(member.second);
      });
    } else {
      throw JinjaFault(fmt::format("{} cannot be printed inside of a value or as JSON", value.describe()));
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void new_line() { out_ += '\n' + std::string(static_cast<std::size_t>(indent_ * level_), ' '); }

  template <class Items, class PrintItem>
  void print_items(std::string_view open, const Items& items, std::string_view close, const PrintItem& print_item) {
    const bool lines = indent_ >= 0 && !items.empty();
    out_ += open;
    ++level_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += lines ? "," : ", ";
      if (lines) new_line();
      print_item(items[i]);
    }
    --level_;
    if (lines) new_line();
    out_ += close;
  }

  bool json_;
  int indent_;
  int level_ = 0;
  std::string out_;
};

bool equal_lists(const JinjaList& left, const JinjaList& right) {
  return left.form == right.form &&
         std::ranges::equal(left.items, right.items, [](const JinjaValue& a, const JinjaValue& b) { return a.equals(b); });
}

bool equal_dicts(const JinjaDict& left, const JinjaDict& right) {
  if (left.members.size() != right.members.size()) return false;
  return std::ranges::all_of(left.members, [&right](const auto& member) {
    const JinjaValue* other = right.find(member.first);
    return other != nullptr && member.second.equals(*other);
  });
}

}  // namespace

std::optional<double> number_of(const JinjaValue& value) {
  if (const bool* flag = value.boolean()) return *flag ? 1.0 : 0.0;
  if (const std::int64_t* integer = value.integer()) return static_cast<double>(*integer);
  if (const double* real = value.real()) return *real;
  return std::nullopt;
}

JinjaValue::JinjaValue(std::vector<JinjaValue> items, JinjaSequence form) {
  auto list = std::make_shared<JinjaList>();
  list->form = form;
  for (const JinjaValue& item : items) account(*list, item);
  list->items = std::move(items);
  value_ = std::shared_ptr<const JinjaList>(std::move(list));
}

JinjaValue::JinjaValue(std::vector<std::pair<std::string, JinjaValue>> members) {
  auto dict = std::make_shared<JinjaDict>();
  for (const auto& member : members) account(*dict, member.second);
  dict->members = std::move(members);
  value_ = std::shared_ptr<const JinjaDict>(std::move(dict));
}

JinjaValue JinjaValue::undefined(std::string name) {
  JinjaValue out;
  out.value_ = JinjaUndefined{std::move(name)};
  return out;
}

JinjaValue JinjaValue::from_tree(const Tree& tree) {
  if (tree.is_bool()) return JinjaValue(tree.as_bool("context"));
  if (tree.is_integer()) return JinjaValue(tree.as_integer("context"));
  if (tree.is_number()) return JinjaValue(tree.as_number("context"));
  if (tree.is_string()) return JinjaValue(tree.as_string("context"));
  if (tree.is_array()) {
    std::vector<JinjaValue> items;
    for (const Tree& item : tree.as_array("context")) items.push_back(from_tree(item));
    return JinjaValue(std::move(items));
  }
  if (tree.is_object()) {
    std::vector<std::pair<std::string, JinjaValue>> members;
    for (const auto& [key, value] : tree.as_object("context")) members.emplace_back(key, from_tree(value));
    return JinjaValue(std::move(members));
  }
  return {};
}

bool JinjaValue::truth() const {
  if (const auto number = number_of(*this)) return *number != 0;
  if (const std::string* text = string()) return !text->empty();
  if (const JinjaList* items = list()) return !items->items.empty();
  if (const JinjaDict* members = dict()) return !members->members.empty();
  return name_space() != nullptr;
}

std::size_t JinjaValue::depth() const {
  if (const JinjaList* items = list()) return items->depth;
  if (const JinjaDict* members = dict()) return members->depth;
  return 0;
}

std::size_t JinjaValue::weight() const {
  if (const std::string* text = string()) return 1 + text->size() / 64;
  if (const JinjaList* items = list()) return items->weight;
  if (const JinjaDict* members = dict()) return members->weight;
  return 1;
}

std::string JinjaValue::describe() const {
  static constexpr const char* kNames[] = {"none",     "",       "a boolean", "an integer", "a float",
                                           "a string", "a list", "an object", "a namespace"};
  if (list() != nullptr && list()->form == JinjaSequence::View) return "a view of an object";
  if (const auto* undefined = std::get_if<JinjaUndefined>(&value_)) return fmt::format("'{}', which is undefined,", undefined->name);
  return kNames[value_.index()];
}

std::string JinjaValue::to_text() const {
  if (const std::string* text = string()) return *text;
  if (is_undefined()) return "";
  Printer printer(false, -1);
  printer.print(*this);
  return printer.take();
}

std::string JinjaValue::to_json(int indent) const {
  Printer printer(true, indent);
  printer.print(*this);
  return printer.take();
}

bool JinjaValue::equals(const JinjaValue& other) const {
  if (integer() != nullptr && other.integer() != nullptr) return *integer() == *other.integer();
  const auto left = number_of(*this);
  const auto right = number_of(other);
  if (left && right) return *left == *right;
  if (value_.index() != other.value_.index()) return false;
  if (const std::string* text = string()) return *text == *other.string();
  if (const JinjaList* items = list()) return equal_lists(*items, *other.list());
  if (const JinjaDict* members = dict()) return equal_dicts(*members, *other.dict());
  return is_none() || is_undefined() || name_space() == other.name_space();
}

const JinjaValue* JinjaDict::find(std::string_view key) const {
  const auto found = std::ranges::find(members, key, [](const auto& member) { return std::string_view(member.first); });
  return found == members.end() ? nullptr : &found->second;
}

}  // namespace meshseek

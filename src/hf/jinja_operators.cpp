#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "hf/jinja_builtins.hpp"
#include "hf/unicode.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kMaxStringBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxLoopBytes = std::size_t{1} << 20;

void refuse_undefined(const JinjaValue& value) {
  if (value.is_undefined()) throw JinjaFault(fmt::format("{} is used", value.describe()));
}

void refuse_view(const JinjaValue& value) {
  const bool view = value.list() != nullptr && value.list()->form == JinjaSequence::View;
  if (view) throw JinjaFault(fmt::format("an index of {}", value.describe()));
}

JinjaValue joined(const std::string& left, const std::string& right) {
  if (left.size() + right.size() > kMaxStringBytes) throw JinjaFault(fmt::format("a text is longer than {} bytes", kMaxStringBytes));
  return JinjaValue(left + right);
}

JinjaValue integer_result(std::string_view name, std::int64_t left, std::int64_t right) {
  std::int64_t out = 0;
  const bool overflow = name == "+"   ? __builtin_add_overflow(left, right, &out)
                        : name == "-" ? __builtin_sub_overflow(left, right, &out)
                                      : __builtin_mul_overflow(left, right, &out);
  if (overflow) throw JinjaFault("an integer result is out of range");
  return JinjaValue(out);
}

/// Negative, zero or positive like a three-way comparison.
int ordered(std::string_view name, const JinjaValue& left, const JinjaValue& right) {
  if (left.string() != nullptr && right.string() != nullptr) return left.string()->compare(*right.string());
  if (left.integer() != nullptr && right.integer() != nullptr)
    return *left.integer() < *right.integer() ? -1 : *left.integer() > *right.integer();
  const auto a = number_of(left);
  const auto b = number_of(right);
  if (!a || !b) throw JinjaFault(fmt::format("'{}' between {} and {}", name, left.describe(), right.describe()));
  return *a < *b ? -1 : *a > *b;
}

bool contains(const JinjaValue& whole, const JinjaValue& part) {
  if (const std::string* text = whole.string()) {
    if (part.string() == nullptr) throw JinjaFault(fmt::format("'in' looks for {} in a string", part.describe()));
    return text->find(*part.string()) != std::string::npos;
  }
  if (const JinjaDict* dict = whole.dict()) return part.string() != nullptr && dict->find(*part.string()) != nullptr;
  if (const JinjaList* list = whole.list()) {
    return std::ranges::any_of(list->items, [&part](const JinjaValue& item) { return item.equals(part); });
  }
  if (whole.is_undefined()) return false;
  throw JinjaFault(fmt::format("'in' looks into {}", whole.describe()));
}

JinjaValue character(char32_t c) {
  std::string one;
  append_utf8(one, c);
  return JinjaValue(std::move(one));
}

std::vector<JinjaValue> characters(const std::string& text) {
  if (text.size() > kMaxLoopBytes) throw JinjaFault(fmt::format("a loop over a string of more than {} bytes", kMaxLoopBytes));
  std::vector<JinjaValue> out;
  for (const char32_t c : decode_utf8(text, "chat template")) out.push_back(character(c));
  return out;
}

/// The place of an index that counts from the end when negative; empty when there is none.
std::optional<std::size_t> place_of(std::int64_t index, std::size_t count) {
  const auto size = static_cast<std::int64_t>(count);
  const std::int64_t place = index < 0 ? std::max(index, -size - 1) + size : index;
  if (place < 0 || place >= size) return std::nullopt;
  return static_cast<std::size_t>(place);
}

/// A bound of a slice, moved into [low, high] as Python does.
std::int64_t bound(const JinjaValue& value, std::int64_t missing, std::int64_t size, std::int64_t low, std::int64_t high) {
  if (value.is_none()) return missing;
  if (value.integer() == nullptr) throw JinjaFault(fmt::format("a slice from or to {}", value.describe()));
  const std::int64_t number = *value.integer();
  return std::clamp(number < 0 ? std::max(number, -size - 1) + size : number, low, high);
}

std::vector<std::size_t> places_of_slice(std::size_t count, const JinjaValue& start, const JinjaValue& stop, const JinjaValue& step) {
  const auto size = static_cast<std::int64_t>(count);
  const std::int64_t stride = step.is_none() ? 1 : step.integer() == nullptr ? 0 : *step.integer();
  if (stride == 0 || stride == std::numeric_limits<std::int64_t>::min())
    throw JinjaFault("a slice with a step that is no number other than 0");
  const bool forward = stride > 0;
  const std::int64_t low = forward ? 0 : -1;
  const std::int64_t high = forward ? size : size - 1;
  const std::int64_t first = bound(start, forward ? 0 : size - 1, size, low, high);
  const std::int64_t last = bound(stop, forward ? size : -1, size, low, high);
  const std::int64_t distance = forward ? last - first : first - last;
  const std::int64_t width = forward ? stride : -stride;
  std::vector<std::size_t> out;
  for (std::int64_t done = 0; done < distance; done = done >= distance - width ? distance : done + width) {
    out.push_back(static_cast<std::size_t>(forward ? first + done : first - done));
  }
  return out;
}

}  // namespace

JinjaValue jinja_binary(std::string_view name, const JinjaValue& left, const JinjaValue& right) {
  if (name == "~") return joined(left.to_text(), right.to_text());
  refuse_undefined(left);
  refuse_undefined(right);
  if (name == "+" && left.string() != nullptr && right.string() != nullptr) return joined(*left.string(), *right.string());
  if (left.integer() != nullptr && right.integer() != nullptr) return integer_result(name, *left.integer(), *right.integer());
  const auto a = number_of(left);
  const auto b = number_of(right);
  if (!a || !b || left.boolean() != nullptr || right.boolean() != nullptr) {
    throw JinjaFault(fmt::format("'{}' between {} and {}", name, left.describe(), right.describe()));
  }
  return JinjaValue(name == "+" ? *a + *b : name == "-" ? *a - *b : *a * *b);
}

JinjaValue jinja_negate(const JinjaValue& operand) {
  if (operand.integer() != nullptr) return integer_result("-", 0, *operand.integer());
  if (operand.real() != nullptr) return JinjaValue(-*operand.real());
  throw JinjaFault(fmt::format("'-' before {}", operand.describe()));
}

bool jinja_compare(std::string_view name, const JinjaValue& left, const JinjaValue& right) {
  if (name == "==") return left.equals(right);
  if (name == "!=") return !left.equals(right);
  if (name == "in") return contains(right, left);
  if (name == "not in") return !contains(right, left);
  const int order = ordered(name, left, right);
  if (name == "<") return order < 0;
  if (name == "<=") return order <= 0;
  return name == ">" ? order > 0 : order >= 0;
}

std::vector<JinjaValue> jinja_elements(const JinjaValue& value) {
  if (value.list() != nullptr) return value.list()->items;
  if (value.string() != nullptr) return characters(*value.string());
  std::vector<JinjaValue> out;
  if (const JinjaDict* dict = value.dict()) {
    for (const auto& member : dict->members) out.emplace_back(member.first);
  } else if (!value.is_undefined()) {
    throw JinjaFault(fmt::format("a loop over {}", value.describe()));
  }
  return out;
}

JinjaValue get_jinja_item(const JinjaValue& object, const JinjaValue& key) {
  refuse_undefined(object);
  refuse_view(object);
  if (key.string() != nullptr) return get_jinja_attribute(object, *key.string());
  const std::int64_t flag = key.boolean() != nullptr && *key.boolean() ? 1 : 0;
  const std::int64_t* index = key.boolean() != nullptr ? &flag : key.integer();
  if (index != nullptr && object.list() != nullptr) {
    if (const auto place = place_of(*index, object.list()->items.size())) return object.list()->items[*place];
  } else if (index != nullptr && object.string() != nullptr) {
    const std::u32string text = decode_utf8(*object.string(), "chat template");
    if (const auto place = place_of(*index, text.size())) return character(text[*place]);
  }
  return JinjaValue::undefined("element");
}

JinjaValue get_jinja_attribute(const JinjaValue& object, const std::string& name) {
  refuse_undefined(object);
  if (const JinjaDict* dict = object.dict()) {
    if (const JinjaValue* value = dict->find(name)) return *value;
  } else if (const JinjaNamespace* space = object.name_space()) {
    const auto found = space->attributes.find(name);
    if (found != space->attributes.end()) return found->second;
  }
  return JinjaValue::undefined(name);
}

JinjaValue slice_jinja(const JinjaValue& object, const JinjaValue& start, const JinjaValue& stop, const JinjaValue& step) {
  refuse_undefined(object);
  refuse_view(object);
  if (const JinjaList* list = object.list()) {
    std::vector<JinjaValue> out;
    for (const std::size_t place : places_of_slice(list->items.size(), start, stop, step)) out.push_back(list->items[place]);
    return JinjaValue(std::move(out), list->form);
  }
  if (object.string() == nullptr) throw JinjaFault(fmt::format("a slice of {}", object.describe()));
  const std::u32string text = decode_utf8(*object.string(), "chat template");
  std::string out;
  for (const std::size_t place : places_of_slice(text.size(), start, stop, step)) append_utf8(out, text[place]);
  return JinjaValue(std::move(out));
}

}  // namespace meshseek

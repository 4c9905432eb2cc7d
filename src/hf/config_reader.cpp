#include "hf/config_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace meshseek {

ConfigReader::ConfigReader(const Tree& object, std::string where) : object_(&object), where_(std::move(where)) { object.as_object(where_); }

void ConfigReader::fail(std::string_view name, const std::string& message) const {
  throw ConfigError(fmt::format("[{}] {}", where(name), message));
}

const Tree* ConfigReader::find(std::string_view name) const {
  const Tree* const value = object_->find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void ConfigReader::require_key(std::string_view name) const {
  if (object_->find(name) == nullptr)
    fail(name, "is missing; expected the field (null where the model has none); use the checkpoint's own config");
}

const Tree& ConfigReader::required(std::string_view name) const {
  const Tree* const value = object_->find(name);
  if (value == nullptr) fail(name, "is missing; it has no default here; use the checkpoint's own config");
  return *value;
}

std::int64_t ConfigReader::check_integer(std::string_view name, const Tree& value, IntegerRange range) const {
  const std::int64_t given = value.as_integer(where(name));
  if (given < range.min || given > range.max) fail(name, fmt::format("is {}; expected {} to {}", given, range.min, range.max));
  return given;
}

double ConfigReader::check_number(std::string_view name, const Tree& value, bool zero_allowed) const {
  const double given = value.as_number(where(name));
  // Written so that NaN fails, too.
  const bool is_fine = given <= kLargestNumber && (given > 0.0 || (zero_allowed && given == 0.0));
  if (!is_fine)
    fail(name, fmt::format("is {}; expected a number {} 0 and at most {}", given, zero_allowed ? "of at least" : "above", kLargestNumber));
  return given;
}

std::string ConfigReader::check_choice(std::string_view name, const Tree& value, std::span<const std::string_view> known) const {
  const std::string& given = value.as_string(where(name));
  if (std::find(known.begin(), known.end(), given) == known.end()) {
    std::string names;
    for (const std::string_view one : known) names += (names.empty() ? "" : ", ") + std::string(one);
    fail(name, fmt::format("is {}; supported: {}", describe(value), names));
  }
  return given;
}

std::int64_t ConfigReader::integer(std::string_view name, IntegerRange range) const { return check_integer(name, required(name), range); }
double ConfigReader::positive(std::string_view name) const { return check_number(name, required(name), false); }
bool ConfigReader::boolean(std::string_view name) const { return required(name).as_bool(where(name)); }
std::string ConfigReader::choice(std::string_view name, std::span<const std::string_view> known) const {
  return check_choice(name, required(name), known);
}

std::int64_t ConfigReader::integer_or(std::string_view name, IntegerRange range, std::int64_t absent) const {
  const Tree* const value = find(name);
  return value == nullptr ? absent : check_integer(name, *value, range);
}

double ConfigReader::positive_or(std::string_view name, double absent) const {
  const Tree* const value = find(name);
  return value == nullptr ? absent : check_number(name, *value, false);
}

double ConfigReader::not_negative_or(std::string_view name, double absent) const {
  const Tree* const value = find(name);
  return value == nullptr ? absent : check_number(name, *value, true);
}

bool ConfigReader::boolean_or(std::string_view name, bool absent) const {
  const Tree* const value = find(name);
  return value == nullptr ? absent : value->as_bool(where(name));
}

std::string ConfigReader::choice_or(std::string_view name, std::span<const std::string_view> known, std::string_view absent) const {
  const Tree* const value = find(name);
  return value == nullptr ? std::string(absent) : check_choice(name, *value, known);
}

std::vector<std::int64_t> ConfigReader::integers(std::string_view name, IntegerRange range) const {
  const Tree* const value = find(name);
  if (value == nullptr) return {};
  if (!value->is_array()) return {check_integer(name, *value, range)};
  std::vector<std::int64_t> result;
  for (const Tree& item : value->as_array(where(name))) result.push_back(check_integer(name, item, range));
  return result;
}

Tree parse_config_text(std::string_view text, const std::string& where) {
  try {
    return parse_json(text, "text");
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("[{}] is not valid JSON: {}; download the file again", where, error.what()));
  }
}

}  // namespace meshseek

/// Typed, range-checked reading of one JSON object of a checkpoint's configs.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/tree.hpp"

namespace meshseek {

/// Inclusive bounds of an integer field.
struct IntegerRange {
  std::int64_t min = 0;
  std::int64_t max = 0;
};

inline constexpr IntegerRange kDimension = {1, std::int64_t{1} << 24};  ///< products of two stay far below 63 bits
inline constexpr IntegerRange kCount = {0, std::int64_t{1} << 24};
inline constexpr IntegerRange kPositions = {1, std::int64_t{1} << 30};
inline constexpr IntegerRange kLayers = {1, 10'000};
inline constexpr double kLargestNumber = 1e12;

/// Reads fields of an object; every error is a ConfigError "[source: field] given; expected; advice".
class ConfigReader {
 public:
  /// \throws ConfigError when `object` is no object. `object` must outlive the reader.
  ConfigReader(const Tree& object, std::string where);

  /// The value; null pointer when it is absent or null.
  const Tree* find(std::string_view name) const;
  /// \throws ConfigError when the key is absent; null is fine.
  void require_key(std::string_view name) const;

  /// Required fields.
  std::int64_t integer(std::string_view name, IntegerRange range) const;
  double positive(std::string_view name) const;  ///< finite, above 0, at most kLargestNumber
  bool boolean(std::string_view name) const;
  std::string choice(std::string_view name, std::span<const std::string_view> known) const;

  /// Fields with a value for "absent or null".
  std::int64_t integer_or(std::string_view name, IntegerRange range, std::int64_t absent) const;
  double positive_or(std::string_view name, double absent) const;
  double not_negative_or(std::string_view name, double absent) const;
  bool boolean_or(std::string_view name, bool absent) const;
  std::string choice_or(std::string_view name, std::span<const std::string_view> known, std::string_view absent) const;
  /// One integer or a list of them; empty when absent or null.
  std::vector<std::int64_t> integers(std::string_view name, IntegerRange range) const;

  std::string where(std::string_view name) const { return where_ + ": " + std::string(name); }
  const std::string& where() const { return where_; }
  /// \throws ConfigError "[source: name] message"
  [[noreturn]] void fail(std::string_view name, const std::string& message) const;

 private:
  const Tree& required(std::string_view name) const;
  std::int64_t check_integer(std::string_view name, const Tree& value, IntegerRange range) const;
  double check_number(std::string_view name, const Tree& value, bool zero_allowed) const;
  std::string check_choice(std::string_view name, const Tree& value, std::span<const std::string_view> known) const;

  const Tree* object_ = nullptr;
  std::string where_;
};

/// Of config.json and generation_config.json, whose real ones have a few KiB.
inline constexpr std::size_t kMaxConfigBytes = 16U << 20;

/// Parses a JSON file of a checkpoint. \throws ConfigError naming the source when the text is not JSON.
Tree parse_config_text(std::string_view text, const std::string& where);

}  // namespace meshseek

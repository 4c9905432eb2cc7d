#include "config/serialise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.hpp"
#include "config/names.hpp"
#include "config/ranges.hpp"

namespace meshseek::serialise {

std::string path_of(std::string_view where, std::string_view name) { return join_path(where, name); }
std::string path_of(std::string_view where, std::size_t element_idx) { return join_path(where, std::to_string(element_idx)); }

Tree write_unsigned(std::uint64_t value) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (value > kMax) throw ConfigError(fmt::format("[to_tree] the integer {} exceeds {}, the largest that is written", value, kMax));
  return Tree(static_cast<std::int64_t>(value));
}

Tree write_float(float value) {
  // 0.1f is written as 0.1, not as 0.10000000149011612: the shortest text that gives the same float.
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  double shortest = value;
  std::from_chars(buffer, end, shortest);
  return Tree(static_cast<float>(shortest) == value ? shortest : double{value});
}

void throw_unnamed_enum(std::int64_t value) {
  throw ConfigError(fmt::format("[to_tree] the enum value {} has no name; add it to enum_names", value));
}

std::int64_t read_integer(const Tree& tree, std::string_view where, std::int64_t min, std::int64_t max) {
  const std::int64_t value = tree.as_integer(where);
  if (value < min || value > max) throw ConfigError(fmt::format("[{}] {} is out of range; expected {} to {}", where, value, min, max));
  return value;
}

float read_float(const Tree& tree, std::string_view where) {
  const double value = tree.as_number(where);
  if (std::isfinite(value) && std::abs(value) > std::numeric_limits<float>::max()) {
    throw ConfigError(fmt::format("[{}] {} is out of the range of a float32", where, value));
  }
  return static_cast<float>(value);
}

std::size_t read_name(const Tree& tree, std::string_view where, std::string_view what, std::span<const std::string_view> known) {
  if (!tree.is_string()) throw ConfigError(fmt::format("[{}] expected one of {}, got {}", where, fmt::join(known, ", "), describe(tree)));
  const std::string& given = tree.as_string(where);
  const auto found = std::find(known.begin(), known.end(), given);
  if (found == known.end()) {
    throw ConfigError(fmt::format("[{}] unknown {} {}{}", where, what, in_quotes(given), known_names_hint(given, known)));
  }
  return static_cast<std::size_t>(found - known.begin());
}

std::size_t read_type(const Tree& tree, std::string_view where, std::span<const std::string_view> known) {
  tree.as_object(where);
  const Tree* type = tree.find("type");
  if (!type) throw ConfigError(fmt::format("[{}] \"type\" is missing; expected one of {}", where, fmt::join(known, ", ")));
  return read_name(*type, join_path(where, "type"), "type", known);
}

void check_keys(const Tree& tree, std::string_view where, std::string_view op, bool has_type, std::span<const std::string_view> known) {
  const Tree::Object& members = tree.as_object(where);
  if (!op.empty()) {
    const Tree* given_op = tree.find("op");
    if (!given_op) throw ConfigError(fmt::format("[{}] \"op\" is missing; expected \"op\": \"{}\"", where, op));
    const std::string op_path = join_path(where, "op");
    if (given_op->as_string(op_path) != op) {
      throw ConfigError(fmt::format("[{}] expected \"{}\", got {}", op_path, op, describe(*given_op)));
    }
  }
  for (const auto& member : members) {
    const std::string_view key = member.first;
    if ((key == "op" && !op.empty()) || (key == "type" && has_type)) continue;
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    throw ConfigError(fmt::format("[{}] unknown key {}{}", where, in_quotes(key), known_names_hint(key, known)));
  }
}

void throw_missing(std::string_view where, std::string_view name) { throw ConfigError(fmt::format("[{}] \"{}\" is missing", where, name)); }

void check_array_size(std::size_t given, std::size_t expected, std::string_view where) {
  if (given != expected) throw ConfigError(fmt::format("[{}] expected an array of {}, got one of {}", where, expected, given));
}

Tree write_layers(std::vector<Tree> layers) {
  Tree::Object members;
  RangePattern run;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto layer_idx = static_cast<std::int64_t>(i);
    if (!members.empty() && members.back().second == layers[i]) {
      run.last = layer_idx;
      members.back().first = to_string(run);
    } else {
      run = {layer_idx, layer_idx};
      members.emplace_back(to_string(run), std::move(layers[i]));
    }
  }
  return Tree(std::move(members));
}

std::int64_t num_layers(const Tree& tree, std::string_view where) {
  tree.as_object(where);
  return count_layers(tree, where);
}

void visit_layers(const Tree& tree, std::string_view where, const std::function<void(std::int64_t, const Tree&)>& visit) {
  for_each_layer(tree, num_layers(tree, where), where, visit);
}

}  // namespace meshseek::serialise

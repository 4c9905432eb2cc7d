#include "config/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace meshseek {
namespace {

constexpr std::size_t kMaxShownBytes = 60;
constexpr std::size_t kMaxListedNames = 40;
constexpr std::size_t kMaxComparedBytes = 100;  // longer names are not typing mistakes

}  // namespace

std::string join_path(std::string_view path, std::string_view name) {
  std::string joined(path);
  if (!joined.empty()) joined += '.';
  return joined.append(name);
}

std::string in_quotes(std::string_view text) {
  std::string shown = fmt::format("\"{}\"", text.substr(0, kMaxShownBytes));
  // A message is one line, and a cut may fall inside a character.
  for (char& byte : shown) {
    if (byte < 0x20 || byte >= 0x7f) byte = '?';
  }
  return shown;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Rows i-2, i-1 and i of the usual table; row[j] is the distance between the first i bytes of a and the first j of b.
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

std::string known_names_hint(std::string_view given, std::span<const std::string_view> known) {
  if (known.empty()) return "; nothing is known here";
  std::string_view nearest;
  std::size_t nearest_distance = kMaxComparedBytes;
  for (const std::string_view name : known) {
    if (std::max(name.size(), given.size()) > kMaxComparedBytes) continue;
    const std::size_t distance = edit_distance(given, name);
    const bool shares_something = distance < std::max(name.size(), given.size());
    if (shares_something && distance < nearest_distance) {
      nearest = name;
      nearest_distance = distance;
    }
  }
  const auto listed = known.first(std::min(known.size(), kMaxListedNames));
  const std::string hint = nearest.empty() ? "" : fmt::format("; did you mean \"{}\"?", nearest);
  return fmt::format("{}{} known: {}{}", hint, hint.empty() ? ";" : "", fmt::join(listed, ", "),
                     listed.size() < known.size() ? ", ..." : "");
}

std::vector<std::string_view> keys_of(const Tree& tree) {
  std::vector<std::string_view> keys;
  if (!tree.is_object()) return keys;
  for (const auto& member : tree.as_object("")) keys.push_back(member.first);
  return keys;
}

}  // namespace meshseek

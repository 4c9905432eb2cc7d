/// Code point ranges of the character classes that tokenizer patterns use, pinned to Unicode 16.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace meshseek {

/// Inclusive range of code points.
struct CodePointRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;

  friend bool operator==(const CodePointRange&, const CodePointRange&) = default;
};

/// Sorted, disjoint ranges of "L", "M", "N", "P", "S" (general categories) or "space" (white space); empty for any other name.
std::span<const CodePointRange> unicode_class(std::string_view name);

}  // namespace meshseek

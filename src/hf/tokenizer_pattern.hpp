/// Split patterns of tokenizer.json: a strict subset of Oniguruma's syntax, with Unicode classes pinned to Unicode 16.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace meshseek {

/// Rewrites a pattern of tokenizer.json (Oniguruma, Ruby syntax) for PCRE2: \p{L}, \p{M}, \p{N}, \p{P}, \p{S}, \s and their negations become
/// explicit ranges, in and outside of character classes. What the two engines read differently is refused.
/// \throws Error naming `where`, the position and the construct, or that the ranges are more than 100,000.
std::string translate_pattern(std::string_view pattern, const std::string& where);

/// A compiled pattern. Thread-safe: matching shares nothing mutable.
class SplitPattern {
 public:
  /// \throws Error on a bad pattern, or on one that can match the empty text.
  SplitPattern(std::string_view pattern, const std::string& where);
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  /// Cuts every piece (valid UTF-8) at the matches in it: each match is a piece, the text between matches is a piece; no piece is empty.
  /// Look-arounds and anchors see one piece only. \throws Error when matching takes too many steps.
  std::vector<std::string_view> isolate(const std::vector<std::string_view>& pieces) const;

 private:
  struct Compiled;
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace meshseek

/// The pre-tokenizer of tokenizer.json: the cutting of text into the pieces that byte pair merging works on.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "config/tree.hpp"
#include "hf/tokenizer_pattern.hpp"

namespace meshseek {

/// A sequence of Split (Regex, Isolated, not inverted) and Digits steps that ends with ByteLevel (add_prefix_space false, use_regex false).
class PreTokenizer {
 public:
  /// \throws Error naming the type or the field that is not supported, or that there are more than 32 steps.
  PreTokenizer(const Tree* config, const std::string& where);
  /// Pieces of valid UTF-8 text, in order, views into `text`; together they are the whole text.
  std::vector<std::string_view> split(std::string_view text) const;

 private:
  void add_step(const Tree& step, const std::string& where, bool last);

  std::vector<SplitPattern> steps_;
};

}  // namespace meshseek

/// From token ids to the text that is shown: special tokens left out, characters never cut, stop strings never shown.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hf/tokenizer.hpp"

namespace meshseek {

/// Lets text through until a stop string appears; holds back what may be the beginning of one.
class StopFilter {
 public:
  /// \throws Error for an empty stop string.
  explicit StopFilter(std::vector<std::string> stops);

  /// Takes more text, returns what can be shown. Once stopped() everything is swallowed.
  std::string push(std::string_view text);
  /// The end of the text: what was held back after all.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::size_t num_held_back() const;

  std::vector<std::string> stops_;
  std::string pending_;
  bool stopped_ = false;
};

/// The text of a growing continuation.
class TextStream {
 public:
  /// \param tokenizer must outlive this; null: ids have no text
  TextStream(const Tokenizer* tokenizer, std::vector<std::string> stops);

  /// Takes the next token, returns the text that can be shown: whole UTF-8 characters. Special tokens have no text, nor have ids that pad the embedding
  /// table beyond the tokenizer's vocabulary.
  std::string push(std::int64_t id);
  std::string finish();
  bool stopped() const { return filter_.stopped(); }

 private:
  bool is_special(std::int64_t id) const;

  const Tokenizer* tokenizer_;
  std::vector<std::int64_t> special_ids_;  ///< sorted
  Utf8Stream characters_;
  StopFilter filter_;
};

}  // namespace meshseek

/// Byte-level BPE tokenizer, from tokenizer.json alone (tokenizer_config.json's class names are not to be trusted).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"

namespace meshseek {

struct AddedToken {
  std::int64_t id = 0;
  std::string content;
  bool special = false;
};

/// Thread-safe after construction (const methods share nothing mutable).
class Tokenizer {
 public:
  /// \throws Error naming the file: missing, not JSON, unsupported pre-tokenizer type (by name), bad pattern, malformed vocabulary or merges.
  static Tokenizer from_folder(const Path& folder);
  static Tokenizer from_json(std::string_view text, const std::string& where);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Text to ids. `parse_added_tokens` false: how user text is encoded, no added token (special or not) is recognised. No BOS is added.
  /// \throws Error on invalid UTF-8, with the byte position.
  std::vector<std::int64_t> encode(std::string_view text, bool parse_added_tokens) const;
  /// Exact bytes of the ids; added tokens give their content. Invalid UTF-8 is possible when ids cut a character.
  /// \throws Error on an id beyond the vocabulary.
  std::string decode(std::span<const std::int64_t> ids) const;
  /// Bytes of one token.
  const std::string& token_bytes(std::int64_t id) const;

  std::int64_t vocab_size() const;
  const std::vector<AddedToken>& added_tokens() const;
  /// Id of an added token by content.
  std::optional<std::int64_t> added_token_id(std::string_view content) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Cuts a stream of token bytes into complete UTF-8 characters; invalid bytes become U+FFFD at the end.
class Utf8Stream {
 public:
  /// Appends bytes, returns what is complete.
  std::string push(std::string_view bytes);
  /// Returns the rest, incomplete sequences as U+FFFD.
  std::string finish();

 private:
  std::string pending_;
};

/// Byte position of the first invalid UTF-8 sequence; empty when valid.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

}  // namespace meshseek

/// Added tokens of tokenizer.json and their search in raw text.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/tree.hpp"
#include "hf/tokenizer.hpp"

namespace meshseek {

/// The list `added_tokens`. \throws Error on unsupported flags (lstrip, rstrip, single_word), an empty content,
/// a content or an id given twice.
std::vector<AddedToken> parse_added_tokens(const Tree* list, const std::string& where);

/// Finds added tokens: leftmost first, the longest of those that start at one place.
class AddedTokenFinder {
 public:
  explicit AddedTokenFinder(const std::vector<AddedToken>& tokens);

  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::int64_t id = 0;
  };
  /// First match at or after `start`.
  std::optional<Match> find(std::string_view text, std::size_t start) const;

 private:
  /// A node of the trie over bytes.
  struct Node {
    std::vector<std::pair<char, std::size_t>> children = {};
    std::int64_t id = -1;  ///< token that ends here; -1: none
  };
  const std::size_t* child(std::size_t node, char byte) const;

  std::vector<Node> nodes_;
};

}  // namespace meshseek

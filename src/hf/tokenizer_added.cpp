#include "hf/tokenizer_added.hpp"

#include <fmt/format.h>

#include <unordered_set>

#include "base/error.hpp"
#include "hf/quote_name.hpp"

namespace meshseek {
namespace {

bool flag(const Tree& entry, std::string_view key, const std::string& where) {
  const Tree* value = entry.find(key);
  return value != nullptr && value->as_bool(fmt::format("{}.{}", where, key));
}

const Tree& required(const Tree& entry, std::string_view key, const std::string& where) {
  const Tree* value = entry.find(key);
  if (value == nullptr)
    throw Error(fmt::format("[{}] '{}' is missing; expected id and content of an added token; download the file again", where, key));
  return *value;
}

}  // namespace

std::vector<AddedToken> parse_added_tokens(const Tree* list, const std::string& where) {
  std::vector<AddedToken> out;
  if (list == nullptr || list->is_null()) return out;
  std::unordered_set<std::string> contents;
  std::unordered_set<std::int64_t> ids;
  for (const Tree& entry : list->as_array(where)) {
    const std::string here = fmt::format("{}[{}]", where, out.size());
    for (const std::string_view key : {"lstrip", "rstrip", "single_word"}) {
      if (flag(entry, key, here))
        throw Error(fmt::format("[{}] {} is true; expected false, others are not supported; use another model", here, key));
    }
    AddedToken token;
    token.id = required(entry, "id", here).as_integer(here + ".id");
    token.content = required(entry, "content", here).as_string(here + ".content");
    token.special = flag(entry, "special", here);
    if (token.id < 0) throw Error(fmt::format("[{}] id {} is negative; expected an id from 0; download the file again", here, token.id));
    if (token.content.empty()) throw Error(fmt::format("[{}] the content is empty; expected text; download the file again", here));
    if (!contents.insert(token.content).second)
      throw Error(
          fmt::format("[{}] the content {} is given twice; expected one entry; download the file again", here, quote_name(token.content)));
    if (!ids.insert(token.id).second)
      throw Error(fmt::format("[{}] the id {} is given twice; expected one entry; download the file again", here, token.id));
    out.push_back(std::move(token));
  }
  return out;
}

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens) : nodes_(1) {
  for (const AddedToken& token : tokens) {
    std::size_t node = 0;
    for (const char byte : token.content) {
      if (const std::size_t* next = child(node, byte)) {
        node = *next;
      } else {
        nodes_[node].children.emplace_back(byte, nodes_.size());
        node = nodes_.size();
        nodes_.emplace_back();
      }
    }
    nodes_[node].id = token.id;
  }
}

const std::size_t* AddedTokenFinder::child(std::size_t node, char byte) const {
  for (const auto& entry : nodes_[node].children) {
    if (entry.first == byte) return &entry.second;
  }
  return nullptr;
}

std::optional<AddedTokenFinder::Match> AddedTokenFinder::find(std::string_view text, std::size_t start) const {
  for (std::size_t begin = start; begin < text.size(); ++begin) {
    std::optional<Match> best;
    std::size_t node = 0;
    for (std::size_t at = begin; at < text.size(); ++at) {
      const std::size_t* next = child(node, text[at]);
      if (next == nullptr) break;
      node = *next;
      if (nodes_[node].id >= 0) best = Match{begin, at + 1, nodes_[node].id};
    }
    if (best) return best;
  }
  return std::nullopt;
}

}  // namespace meshseek

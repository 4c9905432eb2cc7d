#include "hf/tokenizer_model.hpp"

#include <fmt/format.h>

#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "hf/quote_name.hpp"
#include "hf/unicode.hpp"

namespace meshseek {
namespace {

using Vocabulary = std::unordered_map<std::string_view, std::int32_t>;

const Tree& required(const Tree& model, std::string_view key, const std::string& where) {
  const Tree* value = model.find(key);
  if (value == nullptr)
    throw Error(fmt::format("[{}] '{}' is missing; expected type, vocab and merges of a BPE model; download the file again", where, key));
  return *value;
}

void check_options(const Tree& model, const std::string& where) {
  const std::string& type = required(model, "type", where).as_string(where + ".type");
  if (type != "BPE")
    throw Error(fmt::format("[{}] model type {} is not supported; expected BPE; use another model", where, quote_name(type)));
  for (const std::string_view key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"}) {
    const Tree* value = model.find(key);
    if (value == nullptr || value->is_null() || *value == Tree(false) || *value == Tree("")) continue;
    throw Error(fmt::format("[{}] option '{}' is set; expected none, it is not supported; use another model", where, key));
  }
}

/// Bytes of a token written in the byte alphabet; a token with other characters stands for its own UTF-8.
std::string token_to_bytes(const std::string& token) {
  std::string out;
  for (std::size_t at = 0; at < token.size();) {
    const Utf8Step step = read_utf8(std::string_view(token).substr(at));
    const auto byte = step.valid ? alphabet_to_byte(step.code_point) : std::nullopt;
    if (!byte) return token;
    out.push_back(static_cast<char>(*byte));
    at += step.length;
  }
  return out;
}

/// Stores the bytes of one id. Ids may leave holes, but not so many that a small file asks for much memory.
void place(BpeModel& out, std::int64_t id, std::string bytes, std::size_t limit, const std::string& where) {
  if (id < 0 || std::cmp_greater_equal(id, limit)) {
    throw Error(fmt::format("[{}] a token has id {}; expected an id from 0 to {}; download the file again", where, id, limit - 1));
  }
  const auto index = static_cast<std::size_t>(id);
  if (index >= out.bytes.size()) out.bytes.resize(index + 1);
  if (!out.bytes[index].empty())
    throw Error(fmt::format("[{}] the id {} is given twice; expected one token for an id; download the file again", where, id));
  out.bytes[index] = std::move(bytes);
}

Vocabulary read_vocabulary(BpeModel& out, const Tree::Object& vocab, std::size_t limit, const std::string& where) {
  Vocabulary ids;
  ids.reserve(vocab.size());
  for (const auto& [token, value] : vocab) {
    const std::int64_t id = value.as_integer(where);
    if (token.empty()) throw Error(fmt::format("[{}] the token of id {} is empty; expected text; download the file again", where, id));
    place(out, id, token_to_bytes(token), limit, where);
    ids.emplace(token, static_cast<std::int32_t>(id));
  }
  for (std::size_t byte = 0; byte < out.byte_ids.size(); ++byte) {
    std::string letter;
    append_utf8(letter, byte_to_alphabet(static_cast<std::uint8_t>(byte)));
    const auto found = ids.find(letter);
    out.byte_ids[byte] = found == ids.end() ? -1 : found->second;
  }
  return ids;
}

/// The two parts of a merge: ["a", "b"] or "a b".
std::pair<std::string_view, std::string_view> merge_parts(const Tree& merge, const std::string& where) {
  if (merge.is_array()) {
    const Tree::Array& parts = merge.as_array(where);
    if (parts.size() != 2) throw Error(fmt::format("[{}] {} parts; expected two tokens; download the file again", where, parts.size()));
    return {parts[0].as_string(where), parts[1].as_string(where)};
  }
  const std::string_view text = merge.as_string(where);
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
    throw Error(fmt::format("[{}] {}; expected two tokens with one space between them; download the file again", where, quote_name(text)));
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

void read_merges(BpeModel& out, const Vocabulary& ids, const Tree::Array& merges, const std::string& where) {
  out.merges = MergeTable(merges.size());
  const auto id_of = [&](std::string_view token, std::size_t index) {
    const auto found = ids.find(token);
    if (found == ids.end())
      throw Error(fmt::format("[{}[{}]] {} is not in the vocabulary; expected tokens that are; download the file again", where, index,
                              quote_name(token)));
    return found->second;
  };
  std::string whole;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto [left, right] = merge_parts(merges[i], where);
    whole.assign(left).append(right);
    const std::int32_t left_id = id_of(left, i);
    const std::int32_t right_id = id_of(right, i);
    if (!out.merges.add(left_id, right_id, id_of(whole, i))) {
      throw Error(fmt::format("[{}[{}]] the merge of {} and {} is given twice; expected one entry; download the file again", where, i,
                              quote_name(left), quote_name(right)));
    }
  }
}

/// An added token is either new or repeats an entry of the vocabulary.
void place_added(BpeModel& out, const Vocabulary& ids, const std::vector<AddedToken>& added, std::size_t limit, const std::string& where) {
  for (const AddedToken& token : added) {
    const auto found = ids.find(token.content);
    if (found == ids.end()) {
      place(out, token.id, token.content, limit, where + ".added_tokens");
    } else if (found->second == token.id) {
      out.bytes[static_cast<std::size_t>(token.id)] = token.content;
    } else {
      throw Error(fmt::format("[{}.added_tokens] {} has id {}, but {} in the vocabulary; expected one id; download the file again", where,
                              quote_name(token.content), token.id, found->second));
    }
  }
}

}  // namespace

BpeModel parse_bpe_model(const Tree* model, const std::vector<AddedToken>& added, const std::string& where) {
  const std::string here = where + ": model";
  if (model == nullptr) throw Error(fmt::format("[{}] the model is missing; expected a BPE model; download the file again", here));
  check_options(*model, here);
  const Tree::Object& vocab = required(*model, "vocab", here).as_object(here + ".vocab");
  const Tree::Array& merges = required(*model, "merges", here).as_array(here + ".merges");
  const std::size_t limit = (vocab.size() + added.size()) * 2 + 1024;
  BpeModel out;
  const Vocabulary ids = read_vocabulary(out, vocab, limit, here + ".vocab");
  read_merges(out, ids, merges, here + ".merges");
  place_added(out, ids, added, limit, where);
  return out;
}

}  // namespace meshseek

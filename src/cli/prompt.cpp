#include "cli/prompt.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/file.hpp"
#include "config/tree.hpp"

namespace meshseek::cli {
namespace {

/// tokenizer_config.json writes a token as its text or as an object with "content".
std::string token_content(const Tree& token, const std::string& where) {
  const Tree* content = token.find("content");
  return content == nullptr ? token.as_string(where) : content->as_string(where + ".content");
}

/// The BOS id when the folder's tokenizer_config.json asks for it.
std::optional<std::int64_t> read_bos_id(const Path& folder, const HfConfig& hf, const Tokenizer& tokenizer) {
  const Path path = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  const std::string where = path.string();
  const Tree config = parse_json(read_text_file(path), where);
  const Tree* adds_bos = config.find("add_bos_token");
  if (adds_bos == nullptr || adds_bos->is_null() || !adds_bos->as_bool(where + " add_bos_token")) return std::nullopt;
  const Tree* token = config.find("bos_token");
  if (token != nullptr && !token->is_null()) {
    const std::string content = token_content(*token, where + " bos_token");
    if (const auto id = tokenizer.added_token_id(content)) return id;
    throw Error(fmt::format("[{}] bos_token \"{}\" is no added token of tokenizer.json", where, content));
  }
  if (hf.bos_token_id < 0)
    throw Error(fmt::format("[{}] add_bos_token is true but neither bos_token nor config.json's bos_token_id is there", where));
  return hf.bos_token_id;
}

}  // namespace

const Tokenizer& ModelText::need_tokenizer() const {
  if (!tokenizer) throw Error("[tokenizer] the model has no tokenizer.json; give token ids with --ids");
  return *tokenizer;
}

std::vector<std::int64_t> ModelText::encode_prompt(std::string_view text) const {
  std::vector<std::int64_t> ids = need_tokenizer().encode(text, false);
  if (bos_id) ids.insert(ids.begin(), *bos_id);
  return ids;
}

ModelText read_model_text(const Path& folder, const HfConfig& hf) {
  ModelText text;
  text.eos_ids = hf.eos_token_ids;
  for (const std::int64_t id : read_generation_config(folder).eos_token_ids) text.eos_ids.push_back(id);
  if (!std::filesystem::exists(folder / "tokenizer.json")) return text;
  text.tokenizer = Tokenizer::from_folder(folder);
  text.bos_id = read_bos_id(folder, hf, *text.tokenizer);
  return text;
}

void check_prompt(const std::vector<std::int64_t>& ids, const HfConfig& hf) {
  if (ids.empty()) throw Error("[prompt] has no tokens; expected at least one");
  for (std::size_t position = 0; position < ids.size(); ++position) {
    if (ids[position] < hf.vocab_size) continue;
    throw Error(fmt::format("[prompt] token id {} at position {} is beyond the vocabulary; expected 0 to {}", ids[position], position,
                            hf.vocab_size - 1));
  }
  if (static_cast<std::int64_t>(ids.size()) <= hf.max_position_embeddings) return;
  throw Error(fmt::format("[prompt] has {} tokens; the context ends at {} (max_position_embeddings); shorten it", ids.size(),
                          hf.max_position_embeddings));
}

}  // namespace meshseek::cli

/// The text side of a model: tokenizer, beginning and end tokens, checks of a prompt.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "hf/hf_config.hpp"
#include "hf/tokenizer.hpp"

namespace meshseek::cli {

struct ModelText {
  std::optional<Tokenizer> tokenizer = {};  ///< empty: the folder has no tokenizer.json
  std::optional<std::int64_t> bos_id = {};  ///< put before a text prompt; empty unless tokenizer_config.json says add_bos_token
  std::vector<std::int64_t> eos_ids = {};   ///< of config.json and generation_config.json

  const Tokenizer* tokenizer_or_null() const { return tokenizer ? &*tokenizer : nullptr; }
  /// The tokenizer. \throws Error when there is none.
  const Tokenizer& need_tokenizer() const;
  /// Ids of user text: no added token is recognised in it; with the BOS. \throws Error on invalid UTF-8.
  std::vector<std::int64_t> encode_prompt(std::string_view text) const;
};

ModelText read_model_text(const Path& folder, const HfConfig& hf);

/// \throws Error: no ids, one beyond the vocabulary, more than max_position_embeddings. Found here, it is found before a conversion.
void check_prompt(const std::vector<std::int64_t>& ids, const HfConfig& hf);

}  // namespace meshseek::cli

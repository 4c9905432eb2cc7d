/// The `model` part of tokenizer.json: vocabulary and merges of byte-level BPE.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "config/tree.hpp"
#include "hf/tokenizer.hpp"
#include "hf/tokenizer_bpe.hpp"

namespace meshseek {

struct BpeModel {
  std::vector<std::string> bytes = {};          ///< by id: the token's bytes; empty: no such token
  std::array<std::int32_t, 256> byte_ids = {};  ///< token of each byte; -1: none
  MergeTable merges{0};
};

/// Reads and checks the model; the bytes of `added` are their contents.
/// \throws Error on another model type, an unsupported option, an id that is negative, too high or given twice, a merge whose parts
/// or result are no tokens or that is given twice, an added token that contradicts the vocabulary.
BpeModel parse_bpe_model(const Tree* model, const std::vector<AddedToken>& added, const std::string& where);

}  // namespace meshseek

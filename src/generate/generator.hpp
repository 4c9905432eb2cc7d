/// Continues a prompt: prefill, then one token after the other.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/sampler.hpp"
#include "hf/tokenizer.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek {

struct GenerateRequest {
  std::vector<std::int64_t> prompt_ids = {};
  std::int64_t max_new_tokens = 128;
  SamplingParams sampling = {};
  std::vector<std::string> stop = {};  ///< needs a tokenizer
  bool ignore_eos = false;
  std::vector<std::int64_t> eos_ids = {};
  std::function<bool()> is_cancelled = {};  ///< asked before each token; true ends the generation
};

struct GenerateTimings {
  double prefill_s = 0.0;
  double prefill_tok_s = 0.0;
  double decode_tok_s = 0.0;  ///< 0 when nothing was decoded
};

struct GenerateResult {
  std::vector<std::int64_t> ids = {};  ///< the continuation, with the end token when the model chose it
  std::string text = {};               ///< without special tokens and stop string; empty without a tokenizer
  std::string finish_reason = {};      ///< "stop" (end token or stop string), "length" (max_new_tokens or capacity), "cancelled"
  GenerateTimings timings = {};
};

/// Called with each piece of text as soon as it is final: whole UTF-8 characters.
using OnText = std::function<void(std::string_view)>;

/// Generates from a fresh context (the runner's state is reset). Prompt and continuation together never exceed the runner's capacity.
/// \param tokenizer null: ids only
/// \throws Error: prompt empty, beyond the vocabulary or longer than the capacity; bad sampling parameters; stop strings without a tokenizer.
GenerateResult generate(Runner& runner, const Tokenizer* tokenizer, const GenerateRequest& request, const OnText& on_text = {});

}  // namespace meshseek

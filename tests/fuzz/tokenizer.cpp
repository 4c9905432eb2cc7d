// tokenizer.json from hostile files: refused with an Error, or text becomes ids of the vocabulary and these become text again.
#include "hf/tokenizer.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "accept.hpp"

namespace meshseek {
extern const std::size_t kJsonStart;
const std::size_t kJsonStart = 0;  // for json_mutator.cpp
}  // namespace meshseek

using namespace meshseek;

namespace {

/// The end of the input, from the start of a character on.
std::string_view tail_of(std::string_view input) {
  constexpr std::size_t kMost = 200;
  if (input.size() > kMost) input.remove_prefix(input.size() - kMost);
  while (!input.empty() && (static_cast<unsigned char>(input.front()) & 0xC0U) == 0x80U) input.remove_prefix(1);
  return input;
}

void check_text(const Tokenizer& tokenizer, std::string_view text, bool parse_added_tokens) {
  // A byte without a token and a pattern that is too hard are refused.
  const auto ids = accept([&] { return tokenizer.encode(text, parse_added_tokens); });
  if (!ids) return;
  // From here on every exception is a finding.
  Utf8Stream stream;
  std::string streamed;
  for (const std::int64_t id : *ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
    streamed += stream.push(tokenizer.token_bytes(id));
  }
  streamed += stream.finish();
  const std::string decoded = tokenizer.decode(*ids);
  if (find_invalid_utf8(streamed)) std::abort();
  // An added token may give another content to a token of the vocabulary.
  if (!tokenizer.added_tokens().empty()) return;
  if (decoded != text || streamed != text) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = accept([&] { return Tokenizer::from_json(input, "fuzz"); });
  if (!tokenizer) return kRefused;
  check_text(*tokenizer, tail_of(input), true);
  check_text(*tokenizer, tail_of(input), false);
  for (const AddedToken& token : tokenizer->added_tokens()) {
    if (tokenizer->added_token_id(token.content) != token.id || tokenizer->token_bytes(token.id) != token.content) std::abort();
  }
  return 0;
}

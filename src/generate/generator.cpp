#include "generate/generator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/error.hpp"
#include "base/stopwatch.hpp"
#include "generate/text_stream.hpp"

namespace meshseek {
namespace {

using Clock = std::chrono::steady_clock;

double rate(std::int64_t count, double seconds) { return count > 0 && seconds > 0.0 ? static_cast<double>(count) / seconds : 0.0; }

void check_request(const GenerateRequest& request, const Tokenizer* tokenizer) {
  if (request.max_new_tokens < 0) throw Error(fmt::format("[generate] {} new tokens; expected 0 or more", request.max_new_tokens));
  if (!request.stop.empty() && tokenizer == nullptr)
    throw Error("[generate] stop strings need a tokenizer; the model has no tokenizer.json");
}

/// One continuation in the making.
class Generation {
 public:
  Generation(const Tokenizer* tokenizer, const GenerateRequest& request, const OnText& on_text)
      : request_(request), on_text_(on_text), stream_(tokenizer, request.stop), sampler_(request.sampling) {}

  /// Takes the logits after the last token and appends one token. \return false when that ended the text
  bool advance(std::span<const float> logits) {
    const std::int64_t id = sampler_.sample(logits);
    result_.ids.push_back(id);
    if (!request_.ignore_eos && std::ranges::find(request_.eos_ids, id) != request_.eos_ids.end()) return false;
    show(stream_.push(id));
    return !stream_.stopped();
  }

  bool is_cancelled() const { return request_.is_cancelled && request_.is_cancelled(); }
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(result_.ids.size()); }
  std::int64_t last_id() const { return result_.ids.back(); }
  GenerateTimings& timings() { return result_.timings; }

  GenerateResult finish(std::string reason) {
    show(stream_.finish());
    result_.finish_reason = std::move(reason);
    return std::move(result_);
  }

 private:
  void show(const std::string& text) {
    if (text.empty()) return;
    result_.text += text;
    if (on_text_) on_text_(text);
  }

  const GenerateRequest& request_;
  const OnText& on_text_;
  TextStream stream_;
  Sampler sampler_;
  GenerateResult result_;
};

/// Decodes until something ends the text. \return why it ended
std::string run_decode(Runner& runner, Generation& generation, Tensor logits, std::int64_t limit) {
  while (generation.num_tokens() < limit) {
    if (generation.is_cancelled()) return "cancelled";
    if (!generation.advance(logits.data<float>())) return "stop";
    if (generation.num_tokens() < limit) logits = runner.decode(generation.last_id()).logits;
  }
  return "length";
}

}  // namespace

GenerateResult generate(Runner& runner, const Tokenizer* tokenizer, const GenerateRequest& request, const OnText& on_text) {
  check_request(request, tokenizer);
  Generation generation(tokenizer, request, on_text);
  if (runner.num_tokens() > 0) runner.reset();
  const auto num_prompt = static_cast<std::int64_t>(request.prompt_ids.size());

  const auto prefill_start = Clock::now();
  const Tensor logits = runner.prefill(request.prompt_ids, Model::Logits::last).logits;  // [1, vocab_size]
  generation.timings().prefill_s = seconds_since(prefill_start);
  generation.timings().prefill_tok_s = rate(num_prompt, generation.timings().prefill_s);

  const auto decode_start = Clock::now();
  std::string reason = run_decode(runner, generation, logits, std::min(request.max_new_tokens, runner.capacity() - num_prompt));
  // The first token needs no decode step: its logits are the prefill's.
  generation.timings().decode_tok_s = rate(generation.num_tokens() - 1, seconds_since(decode_start));
  return generation.finish(std::move(reason));
}

}  // namespace meshseek

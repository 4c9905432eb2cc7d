#include "generate/score.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "ops/softmax.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kNumBest = 5;

double ratio(double part, std::int64_t whole) { return whole > 0 ? part / static_cast<double>(whole) : 0.0; }

/// Ids of the five largest logits, the lower id first among equals.
std::array<std::int64_t, kNumBest> best_ids(std::span<const float> logits) {
  std::vector<std::int64_t> order(logits.size());
  for (std::size_t id = 0; id < order.size(); ++id) order[id] = static_cast<std::int64_t>(id);
  const auto value = [&](std::int64_t id) { return logits[static_cast<std::size_t>(id)]; };
  const auto before = [&](std::int64_t a, std::int64_t b) { return value(a) != value(b) ? value(a) > value(b) : a < b; };
  std::partial_sort(order.begin(), order.begin() + kNumBest, order.end(), before);
  std::array<std::int64_t, kNumBest> best = {};
  std::copy_n(order.begin(), kNumBest, best.begin());
  return best;
}

double kl_divergence(std::span<const float> reference, std::span<const float> model) {
  const std::vector<double> p = log_softmax(reference);
  const std::vector<double> q = log_softmax(model);
  double sum = 0.0;
  for (std::size_t id = 0; id < p.size(); ++id) {
    const double probability = std::exp(p[id]);
    if (probability > 0.0) sum += probability * (p[id] - q[id]);
  }
  return sum;
}

std::span<const float> row_of(std::span<const float> logits, std::size_t row, std::size_t vocab_size) {
  return logits.subspan(row * vocab_size, vocab_size);
}

Tensor window_logits(Runner& runner, std::span<const std::int64_t> ids) {
  if (runner.num_tokens() > 0) runner.reset();
  return runner.prefill(ids, Model::Logits::all).logits;
}

void check_score(Runner& runner, const Runner* reference, std::span<const std::int64_t> ids, std::int64_t ctx) {
  check_windows(ids.size(), ctx, reference != nullptr ? std::min(runner.capacity(), reference->capacity()) : runner.capacity());
  if (reference != nullptr && reference->hf_config().vocab_size != runner.hf_config().vocab_size) {
    throw Error(fmt::format("[score] the reference has a vocabulary of {}, the model one of {}; expected the same",
                            reference->hf_config().vocab_size, runner.hf_config().vocab_size));
  }
}

}  // namespace

double TextScore::mean_nll() const { return ratio(nll_sum, num_scored); }
double TextScore::perplexity() const { return std::exp(mean_nll()); }
double TextScore::top1_accuracy() const { return ratio(static_cast<double>(num_top1), num_scored); }

double Agreement::mean_kl() const { return ratio(kl_sum, num_positions); }
double Agreement::top1() const { return ratio(static_cast<double>(num_top1), num_positions); }
double Agreement::top5() const { return ratio(static_cast<double>(num_top5), num_positions * static_cast<std::int64_t>(kNumBest)); }

void Agreement::add(std::span<const float> reference, std::span<const float> model) {
  if (reference.size() != model.size() || model.size() < kNumBest) {
    throw Error(fmt::format("[score] {} reference logits and {} logits; expected equally many, at least {}", reference.size(), model.size(),
                            kNumBest));
  }
  const auto expected = best_ids(reference);
  const auto actual = best_ids(model);
  ++num_positions;
  kl_sum += kl_divergence(reference, model);
  num_top1 += expected.front() == actual.front() ? 1 : 0;
  for (const std::int64_t id : expected) num_top5 += std::ranges::count(actual, id);
}

void check_windows(std::size_t num_tokens, std::int64_t ctx, std::int64_t capacity) {
  if (num_tokens < 2)
    throw Error(fmt::format("[score] the text has {} tokens; expected at least 2: the first of a window is not scored", num_tokens));
  if (ctx < 2 || ctx > capacity) throw Error(fmt::format("[score] windows of {} tokens; expected 2 to {}", ctx, capacity));
}

void add_window(TextScore& score, std::span<const std::int64_t> ids, std::span<const float> logits) {
  const std::size_t vocab_size = logits.size() / ids.size();
  ++score.num_windows;
  for (std::size_t position = 0; position + 1 < ids.size(); ++position) {
    const std::span<const float> row = row_of(logits, position, vocab_size);
    const std::int64_t next = ids[position + 1];
    ++score.num_scored;
    score.nll_sum -= log_softmax(row)[static_cast<std::size_t>(next)];
    score.num_top1 += argmax(row) == next ? 1 : 0;
  }
}

ScoreResult score_text(Runner& runner, Runner* reference, std::span<const std::int64_t> ids, const ScoreOptions& options) {
  if (options.max_tokens > 0) ids = ids.first(std::min(ids.size(), static_cast<std::size_t>(options.max_tokens)));
  check_score(runner, reference, ids, options.ctx);
  const auto ctx = static_cast<std::size_t>(options.ctx);
  const auto num_windows = static_cast<std::int64_t>((ids.size() + ctx - 1) / ctx);
  ScoreResult result;
  for (std::int64_t window_idx = 0; window_idx < num_windows; ++window_idx) {
    const std::size_t begin = static_cast<std::size_t>(window_idx) * ctx;
    const std::span<const std::int64_t> window = ids.subspan(begin, std::min(ctx, ids.size() - begin));
    if (window.size() < 2) break;  // a last window of one token has nothing to score
    if (options.on_window) options.on_window(window_idx, num_windows);
    const Tensor logits = window_logits(runner, window);  // [T, vocab_size]
    add_window(result.model, window, logits.data<float>());
    if (reference == nullptr) continue;
    const Tensor expected = window_logits(*reference, window);
    add_window(result.reference, window, expected.data<float>());
    const auto vocab_size = static_cast<std::size_t>(logits.dim(-1));
    for (std::size_t row = 0; row + 1 < window.size(); ++row) {
      result.agreement.add(row_of(expected.data<float>(), row, vocab_size), row_of(logits.data<float>(), row, vocab_size));
    }
  }
  return result;
}

}  // namespace meshseek

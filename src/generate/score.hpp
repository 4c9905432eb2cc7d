/// How well a model predicts a text, and how close its predictions are to those of a reference.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "stage3_run/runner.hpp"

namespace meshseek {

/// Sums over scored tokens.
struct TextScore {
  std::int64_t num_windows = 0;
  std::int64_t num_scored = 0;
  double nll_sum = 0.0;       ///< negative log likelihood, natural logarithm
  std::int64_t num_top1 = 0;  ///< tokens that were the model's first choice

  double mean_nll() const;
  double perplexity() const;
  double top1_accuracy() const;
};

/// How a model's distributions compare with a reference's, position by position.
struct Agreement {
  std::int64_t num_positions = 0;
  double kl_sum = 0.0;        ///< KL(reference || model), nats
  std::int64_t num_top1 = 0;  ///< positions with the same first choice
  std::int64_t num_top5 = 0;  ///< of the reference's five best tokens, those that are among the model's five best; summed over positions

  double mean_kl() const;
  double top1() const;  ///< share of positions
  double top5() const;  ///< mean share of the five best that both have in common

  /// Adds one position. \throws Error when the lengths differ or are below 5.
  void add(std::span<const float> reference, std::span<const float> model);
};

struct ScoreOptions {
  std::int64_t ctx = 512;       ///< tokens of a window
  std::int64_t max_tokens = 0;  ///< of the text; 0: all
  /// Called before each window with its index and the number of windows; may throw to stop.
  std::function<void(std::int64_t, std::int64_t)> on_window = {};
};

struct ScoreResult {
  TextScore model = {};
  TextScore reference = {};  ///< empty without a reference
  Agreement agreement = {};  ///< empty without a reference
};

/// \throws Error for fewer than two tokens, and for windows below 2 tokens or beyond `capacity`.
void check_windows(std::size_t num_tokens, std::int64_t ctx, std::int64_t capacity);

/// Adds the tokens 2.. of one window. \param logits [ids.size(), vocab_size] row-major
void add_window(TextScore& score, std::span<const std::int64_t> ids, std::span<const float> logits);

/// Cuts `ids` into windows of `ctx`, each a fresh context run by prefill; the tokens 2.. of each window are scored, and compared with the `reference` (may be null).
/// \throws Error: fewer than two tokens, ctx below 2 or beyond a capacity, different vocabularies.
ScoreResult score_text(Runner& runner, Runner* reference, std::span<const std::int64_t> ids, const ScoreOptions& options);

}  // namespace meshseek

// Source: DeepSeek-V2 modeling_deepseek.py and DeepSeek-V3 inference/model.py, class Gate. Ties go to the larger value, then to the lower index.
#include "ops/router.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory_resource>
#include <numeric>
#include <span>

#include "ops/capture.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/topk.hpp"

namespace meshseek {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();

/// \param scores [E] become the scores of `logits`
void score(std::span<const float> logits, ScoringFunc func, std::span<float> scores) {
  std::copy(logits.begin(), logits.end(), scores.begin());
  if (func == ScoringFunc::sigmoid) {
    for (float& score : scores) score = 1.0F / (1.0F + std::exp(-score));
    return;
  }
  const float top = *std::max_element(scores.begin(), scores.end());
  float sum = 0.0F;
  for (float& score : scores) sum += score = std::exp(score - top);
  for (float& score : scores) score /= sum;
}

/// V3 ranks groups by the sum of their two best biased scores, V2 by their best score.
float group_score(std::span<const float> group, TopkMethod method) {
  float best = kHidden;
  float second = kHidden;
  for (const float value : group) {
    if (value > best) {
      second = best;
      best = value;
    } else {
      second = std::max(second, value);
    }
  }
  return method == TopkMethod::noaux_tc ? best + second : best;
}

/// Hides the experts of all but the topk_group best groups: V3 with -inf (biased scores may be negative), V2 with 0 (probabilities are not).
void keep_best_groups(std::span<float> choice, const RouterConfig& cfg, std::pmr::memory_resource& memory) {
  const auto group_size = choice.size() / static_cast<std::size_t>(cfg.n_group);
  std::pmr::vector<float> group_scores(&memory);
  for (std::size_t begin = 0; begin < choice.size(); begin += group_size) {
    group_scores.push_back(group_score(choice.subspan(begin, group_size), cfg.topk_method));
  }
  const auto kept = largest_indices(group_scores, cfg.topk_group, memory);
  const float hidden = cfg.topk_method == TopkMethod::noaux_tc ? kHidden : 0.0F;
  for (std::size_t group_idx = 0; group_idx < group_scores.size(); ++group_idx) {
    if (std::find(kept.begin(), kept.end(), static_cast<std::int64_t>(group_idx)) != kept.end()) continue;
    std::fill_n(choice.begin() + static_cast<std::ptrdiff_t>(group_idx * group_size), group_size, hidden);
  }
}

/// V3: normalise when asked, then always scale. V2: normalise or scale, never both.
void finish_weights(std::span<float> weights, const RouterConfig& cfg) {
  const bool v3 = cfg.topk_method == TopkMethod::noaux_tc;
  const bool normalise = cfg.norm_topk_prob && (v3 || weights.size() > 1);
  if (normalise) {
    const float sum = std::accumulate(weights.begin(), weights.end(), 0.0F) + 1e-20F;
    for (float& weight : weights) weight /= sum;
  }
  if (v3 || !normalise) {
    for (float& weight : weights) weight *= static_cast<float>(cfg.routed_scaling_factor);
  }
}

void check_groups(const RouterConfig& cfg, std::int64_t num_experts) {
  if (cfg.topk_method == TopkMethod::greedy || cfg.n_group == 1) return;
  const std::int64_t group_size = num_experts / cfg.n_group;
  if (cfg.topk_group * group_size < cfg.num_experts_per_tok) {
    throw ShapeError(
        fmt::format("[router] {} experts a token but {} groups of {} hold only {}; expected num_experts_per_tok of them or more",
                    cfg.num_experts_per_tok, cfg.topk_group, group_size, cfg.topk_group * group_size));
  }
  if (cfg.topk_method == TopkMethod::noaux_tc && group_size < 2) {
    throw ShapeError(fmt::format("[router] {} groups of {} experts have one expert each; noaux_tc ranks groups by their two best",
                                 cfg.n_group, num_experts));
  }
}

void check(const Tensor& logits, const RouterConfig& cfg) {
  const std::int64_t num_experts = logits.rank() == 2 ? logits.dim(1) : 0;
  const bool fits = num_experts > 0 && cfg.num_experts_per_tok >= 1 && cfg.num_experts_per_tok <= num_experts && cfg.n_group >= 1 &&
                    num_experts % cfg.n_group == 0 && cfg.topk_group >= 1 && cfg.topk_group <= cfg.n_group;
  if (!fits) {
    throw ShapeError(fmt::format("[router] logits are {} with {} experts a token, {} groups, {} kept; expected [T, E] that these divide",
                                 to_string(logits.shape()), cfg.num_experts_per_tok, cfg.n_group, cfg.topk_group));
  }
  check_groups(cfg, num_experts);
  if (cfg.e_score_correction_bias && cfg.e_score_correction_bias->tensor.volume() != num_experts) {
    throw ShapeError(fmt::format("[router] the correction bias is {} but there are {} experts; expected one value for each",
                                 to_string(cfg.e_score_correction_bias->tensor.shape()), num_experts));
  }
}

/// Chooses for one token. \param indices, weights [k]
void route_token(std::span<const float> scores, std::span<const float> bias, const RouterConfig& cfg, std::span<std::int32_t> indices,
                 std::span<float> weights, std::pmr::memory_resource& memory) {
  std::pmr::vector<float> choice(scores.begin(), scores.end(), &memory);
  for (std::size_t expert_idx = 0; expert_idx < bias.size(); ++expert_idx) choice[expert_idx] += bias[expert_idx];
  if (cfg.topk_method != TopkMethod::greedy && cfg.n_group > 1) keep_best_groups(choice, cfg, memory);
  const auto chosen = largest_indices(choice, cfg.num_experts_per_tok, memory);
  for (std::size_t slot = 0; slot < chosen.size(); ++slot) {
    indices[slot] = static_cast<std::int32_t>(chosen[slot]);
    weights[slot] = scores[static_cast<std::size_t>(chosen[slot])];  // never the biased score
  }
  finish_weights(weights, cfg);
}

/// NaN has no order: a choice among NaN would be arbitrary.
void refuse_nan(std::span<const float> scores, std::size_t token) {
  if (std::none_of(scores.begin(), scores.end(), [](float score) { return std::isnan(score); })) return;
  throw Error(fmt::format("[router] the scores of token {} hold NaN; expected finite router logits; check the weights and the dtype policy",
                          token));
}

std::pmr::vector<float> bias_values(const RouterConfig& cfg, std::pmr::memory_resource& memory) {
  std::pmr::vector<float> bias(&memory);
  if (!cfg.e_score_correction_bias) return bias;
  bias.resize(static_cast<std::size_t>(cfg.e_score_correction_bias->tensor.volume()));
  to_floats(cfg.e_score_correction_bias->tensor, bias);
  for (std::size_t idx = 0; idx < bias.size(); ++idx) {
    if (!std::isfinite(bias[idx]))
      throw Error(fmt::format("[router] the correction bias of expert {} is {}; expected a finite number", idx, bias[idx]));
  }
  return bias;
}

}  // namespace

Routing router(const Tensor& logits, const RouterConfig& cfg) {
  const RecordedCall call(logits, "router", cfg, [&](CallValues& in) { in.add("logits", logits); });
  Device& device = device_of(logits, "router");
  log_operator(device, "router", [&] {
    return fmt::format("logits {} {} {}", to_string(logits.shape()), enum_name(cfg.scoring_func), enum_name(cfg.topk_method));
  });
  check(logits, cfg);
  const std::int64_t num_tokens = logits.dim(0);
  const auto num_experts = static_cast<std::size_t>(logits.dim(1));
  const auto k = static_cast<std::size_t>(cfg.num_experts_per_tok);
  Routing routing = {make_result({num_tokens, cfg.num_experts_per_tok}, DataType::int32, device),
                     make_result({num_tokens, cfg.num_experts_per_tok}, DataType::float32, device)};
  const auto indices = routing.indices.mutable_data<std::int32_t>();
  const auto weights = routing.weights.mutable_data<float>();
  const auto values = logits.data<float>();
  std::pmr::memory_resource& memory = device.scratch();
  const auto bias = bias_values(cfg, memory);
  device.team().parallel_for(static_cast<std::size_t>(num_tokens), 16, [&](std::size_t begin, std::size_t end) {
    std::pmr::vector<float> scores(num_experts, &memory);
    for (std::size_t token = begin; token < end; ++token) {
      score(values.subspan(token * num_experts, num_experts), cfg.scoring_func, scores);
      refuse_nan(scores, token);
      route_token(scores, bias, cfg, indices.subspan(token * k, k), weights.subspan(token * k, k), memory);
    }
  });
  call.finish([&](CallValues& out) { out.add("indices", routing.indices).add("weights", routing.weights); });
  return routing;
}

}  // namespace meshseek

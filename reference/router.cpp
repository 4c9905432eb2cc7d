#include "reference/router.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "reference/norm.hpp"
#include "tensor/dtype.hpp"

namespace meshseek::reference {
namespace {

std::vector<std::int64_t> best(const std::vector<double>& values, std::int64_t count, RouterMistake mistake) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  if (mistake == RouterMistake::ties_to_the_higher_index) std::reverse(order.begin(), order.end());
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  order.resize(static_cast<std::size_t>(count));
  return order;
}

void hide_groups(std::vector<double>& choice, const RouterSettings& s, RouterMistake mistake) {
  const bool v3 = s.topk_method == "noaux_tc";
  const auto size = static_cast<std::ptrdiff_t>(choice.size()) / s.n_group;
  std::vector<double> group_scores;
  for (std::int64_t group = 0; group < s.n_group; ++group) {
    std::vector<double> members(choice.begin() + group * size, choice.begin() + (group + 1) * size);
    std::sort(members.begin(), members.end(), std::greater<>());
    group_scores.push_back(v3 && mistake != RouterMistake::group_score_is_the_best ? members[0] + members[1] : members[0]);
  }
  const std::vector<std::int64_t> kept = best(group_scores, s.topk_group, mistake);
  const double hidden = v3 && mistake != RouterMistake::hidden_groups_are_zero ? -std::numeric_limits<double>::infinity() : 0.0;
  for (std::int64_t group = 0; group < s.n_group; ++group) {
    if (std::count(kept.begin(), kept.end(), group) == 0) std::fill_n(choice.begin() + group * size, size, hidden);
  }
}

void finish(std::vector<double>& weights, const RouterSettings& s, RouterMistake mistake) {
  const bool v3 = s.topk_method == "noaux_tc";
  const bool normalise = s.norm_topk_prob && (v3 || weights.size() > 1);
  const bool scale =
      (v3 && mistake != RouterMistake::normalised_and_not_scaled) || !normalise || mistake == RouterMistake::normalised_and_scaled;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0) + 1e-20;
  for (double& weight : weights) {
    if (normalise) weight /= sum;
    if (scale) weight *= s.routed_scaling_factor;
  }
}

}  // namespace

RouterChoice route(std::span<const float> logits, std::span<const float> bias, const RouterSettings& s, RouterMistake mistake) {
  std::vector<double> scores(logits.begin(), logits.end());
  if (s.scoring_func == "softmax") {
    scores = softmax(scores);
  } else {
    for (double& score : scores) score = 1.0 / (1.0 + std::exp(-score));
  }
  std::vector<double> choice = scores;
  for (std::size_t idx = 0; idx < bias.size(); ++idx) {
    choice[idx] += double{mistake == RouterMistake::bias_in_bfloat16 ? round_to_bf16(bias[idx]) : bias[idx]};
  }
  const std::vector<double> biased = choice;
  if (s.topk_method != "greedy" && s.n_group > 1) hide_groups(choice, s, mistake);
  RouterChoice result = {best(choice, s.num_experts_per_tok, mistake), {}};
  for (const std::int64_t idx : result.indices) {
    result.weights.push_back((mistake == RouterMistake::biased_weights ? biased : scores)[static_cast<std::size_t>(idx)]);
  }
  finish(result.weights, s, mistake);
  return result;
}

}  // namespace meshseek::reference

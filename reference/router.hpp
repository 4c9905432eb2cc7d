/// Choice of experts in float64, with the known mistakes built in on request: a test of the goldens must notice each.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace meshseek::reference {

struct RouterSettings {
  std::string scoring_func = "softmax";  ///< or sigmoid
  std::string topk_method = "greedy";    ///< or group_limited_greedy, noaux_tc
  std::int64_t num_experts_per_tok = 1;
  std::int64_t n_group = 1;
  std::int64_t topk_group = 1;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;
};

enum class RouterMistake : std::uint8_t {
  none,
  hidden_groups_are_zero,   ///< noaux_tc: masked with 0, not -infinity
  biased_weights,           ///< weights from the scores that were used for the choice
  group_score_is_the_best,  ///< noaux_tc: the best expert of a group, not the sum of the two best
  bias_in_bfloat16,
  normalised_and_not_scaled,  ///< noaux_tc: V2's rule
  normalised_and_scaled,      ///< softmax: V3's rule
  ties_to_the_higher_index,
};

struct RouterChoice {
  std::vector<std::int64_t> indices = {};
  std::vector<double> weights = {};
};

/// One token. \param bias empty or one value per expert
RouterChoice route(std::span<const float> logits, std::span<const float> bias, const RouterSettings& settings,
                   RouterMistake mistake = RouterMistake::none);

}  // namespace meshseek::reference

/// Configs of the mixture-of-experts operators.
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

enum class ScoringFunc : std::uint8_t { softmax, sigmoid };
constexpr auto enum_names(ScoringFunc) {
  return std::array<std::pair<ScoringFunc, std::string_view>, 2>{{{ScoringFunc::softmax, "softmax"}, {ScoringFunc::sigmoid, "sigmoid"}}};
}

enum class TopkMethod : std::uint8_t { greedy, group_limited_greedy, noaux_tc };
constexpr auto enum_names(TopkMethod) {
  return std::array<std::pair<TopkMethod, std::string_view>, 3>{
      {{TopkMethod::greedy, "greedy"}, {TopkMethod::group_limited_greedy, "group_limited_greedy"}, {TopkMethod::noaux_tc, "noaux_tc"}}};
}

struct RouterConfig {
  static constexpr std::string_view kOp = "Router";

  ScoringFunc scoring_func = ScoringFunc::softmax;
  TopkMethod topk_method = TopkMethod::greedy;
  std::int64_t num_experts_per_tok = 1;
  std::int64_t n_group = 1;
  std::int64_t topk_group = 1;
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;
  std::optional<WeightSlot> e_score_correction_bias = {};  ///< [n_routed_experts] float32; noaux_tc only

  static constexpr auto fields() {
    return std::tuple{field("scoring_func", &RouterConfig::scoring_func, "softmax or sigmoid of the router logits"),
                      field("topk_method", &RouterConfig::topk_method, "how experts are chosen"),
                      field("num_experts_per_tok", &RouterConfig::num_experts_per_tok, "experts chosen for each token"),
                      field("n_group", &RouterConfig::n_group, "groups of experts; 1: no groups"),
                      field("topk_group", &RouterConfig::topk_group, "groups kept"),
                      field("norm_topk_prob", &RouterConfig::norm_topk_prob, "chosen weights are divided by their sum"),
                      field("routed_scaling_factor", &RouterConfig::routed_scaling_factor, "factor on the chosen weights"),
                      field("e_score_correction_bias", &RouterConfig::e_score_correction_bias, "added to the scores for the choice only")};
  }
};

struct MoeDispatchConfig {
  static constexpr std::string_view kOp = "MoeDispatch";

  MemoryConfig memory_config = {};  ///< of the gathered rows

  static constexpr auto fields() {
    return std::tuple{field("memory_config", &MoeDispatchConfig::memory_config, "where the gathered rows lie; INTERLEAVED only")};
  }
};

struct MoeCombineConfig {
  static constexpr std::string_view kOp = "MoeCombine";

  DataType dtype = DataType::float32;  ///< of the result; sums are float32
  MemoryConfig memory_config = {};     ///< of the result

  static constexpr auto fields() {
    return std::tuple{field("dtype", &MoeCombineConfig::dtype, "element type of the result"),
                      field("memory_config", &MoeCombineConfig::memory_config, "where the result lies and which core computes what")};
  }
};

}  // namespace meshseek

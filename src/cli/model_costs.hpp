/// What one pass of a model must read and compute.
#pragma once
#include <cstdint>

#include "hf/hf_config.hpp"
#include "modules/model/model.hpp"

namespace meshseek::cli {

/// Sums over the weights of a run config, the MTP modules left out.
struct WeightCosts {
  double fixed_bytes = 0.0;      ///< read by every pass: all but routed experts and embedding
  double fixed_products = 0.0;   ///< multiplications of one token with these, without lm_head
  double head_products = 0.0;    ///< of one row of logits
  double embedding_bytes = 0.0;  ///< of one token
  double expert_bytes = 0.0;     ///< of one routed expert of one layer
  double expert_products = 0.0;  ///< of one token with it
  std::int64_t moe_layers = 0;
};

WeightCosts weight_costs(const Model::Config& config, const HfConfig& hf);

/// One pass: `num_tokens` tokens after `depth` cached ones, logits for one of them.
struct PassSize {
  std::int64_t num_tokens = 1;
  std::int64_t depth = 0;
  bool absorbed = true;              ///< decode; otherwise keys and values are expanded (prefill)
  double experts_touched = 0.0;      ///< distinct (layer, expert) pairs that the pass visits
  std::int64_t cache_row_bytes = 0;  ///< of one cached token in one layer
};

struct PassCosts {
  double bytes = 0.0;  ///< weights and cached tokens that are read once
  double flop = 0.0;   ///< a multiply-add counts as two
};

PassCosts pass_costs(const WeightCosts& weights, const HfConfig& hf, const PassSize& size);

}  // namespace meshseek::cli

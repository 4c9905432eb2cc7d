/// What one pass of a model must read and compute.
#pragma once
#include <cstdint>

#include "hf/hf_config.hpp"
#include "modules/model/model.hpp"

namespace meshseek::cli {

/// Multiplications, by what multiplies them.
struct Products {
  double fp32 = 0.0;   ///< HiFi4
  double bf16 = 0.0;   ///< HiFi2, and LoFi where it has no int8
  double int16 = 0.0;  ///< HiFi2 on panels of int16
  double int8 = 0.0;   ///< LoFi with block-float weights

  Products& operator+=(const Products& other);
};
Products operator*(double count, const Products& products);

/// Sums over the weights of a run config, the MTP modules left out.
struct WeightCosts {
  double fixed_bytes = 0.0;         ///< read by every pass: all but routed experts and embedding
  Products fixed_products = {};     ///< of one token with these, without what follows
  Products last_ffn_products = {};  ///< of one token with the last layer's feed-forward block, its routed experts left out
  Products head_products = {};      ///< of one row of logits
  double embedding_bytes = 0.0;     ///< of one token
  double expert_bytes = 0.0;        ///< of one routed expert of one layer
  Products expert_products = {};    ///< of one token with it
  std::int64_t moe_layers = 0;
  bool attention_is_bf16 = false;
  bool last_is_moe = false;
};

WeightCosts weight_costs(const Model::Config& config, const HfConfig& hf);

/// One pass: `num_tokens` tokens after `depth` cached ones; the last layer's feed-forward block and the head for the last of them.
struct PassSize {
  std::int64_t num_tokens = 1;
  std::int64_t depth = 0;
  std::int64_t batch = 1;            ///< sequences that do the same in one pass
  bool absorbed = true;              ///< decode; otherwise keys and values are expanded (prefill)
  double experts_touched = 0.0;      ///< distinct (layer, expert) pairs that the pass visits
  std::int64_t cache_row_bytes = 0;  ///< of one cached token in one layer
};

struct PassCosts {
  double bytes = 0.0;      ///< weights and cached tokens, each read once
  double fp32_flop = 0.0;  ///< a multiply-add counts as two
  double bf16_flop = 0.0;
  double int16_flop = 0.0;
  double int8_flop = 0.0;

  double flop() const { return fp32_flop + bf16_flop + int16_flop + int8_flop; }
};

PassCosts pass_costs(const WeightCosts& weights, const HfConfig& hf, const PassSize& size);

}  // namespace meshseek::cli

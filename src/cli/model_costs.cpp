#include "cli/model_costs.hpp"

#include <algorithm>
#include <string>

#include "stage3_run/create_run_config.hpp"

namespace meshseek::cli {

WeightCosts weight_costs(const Model::Config& config, const HfConfig& hf) {
  WeightCosts costs;
  double expert_layers = 0.0;
  for_each_weight_slot(config, "model", [&](const WeightSlot& slot, const std::string& path) {
    const auto bytes = static_cast<double>(slot.tensor.bytes().size());
    const auto products = static_cast<double>(slot.tensor.volume());
    if (path.starts_with("model.mtp")) return;
    if (path.starts_with("model.embedding")) {
      costs.embedding_bytes += bytes / static_cast<double>(std::max<std::int64_t>(hf.vocab_size, 1));
    } else if (path.find(".experts.") != std::string::npos) {
      costs.expert_bytes += bytes;
      costs.expert_products += products;
      if (path.find(".experts.w1.") != std::string::npos) expert_layers += 1.0;
    } else if (path.starts_with("model.lm_head")) {
      costs.fixed_bytes += bytes;
      costs.head_products += products;
    } else {
      costs.fixed_bytes += bytes;
      costs.fixed_products += products;
    }
  });
  costs.moe_layers = static_cast<std::int64_t>(expert_layers);
  const double num_experts = expert_layers * static_cast<double>(hf.n_routed_experts);
  if (num_experts > 0.0) {
    costs.expert_bytes /= num_experts;
    costs.expert_products /= num_experts;
  }
  return costs;
}

PassCosts pass_costs(const WeightCosts& weights, const HfConfig& hf, const PassSize& size) {
  const auto tokens = static_cast<double>(size.num_tokens);
  const auto layers = static_cast<double>(hf.num_hidden_layers);
  // Each token sees the cached ones, itself and those before it in the pass.
  const double pairs = tokens * static_cast<double>(size.depth) + tokens * (tokens + 1.0) / 2.0;
  const std::int64_t width = size.absorbed ? 2 * hf.kv_lora_rank + hf.qk_rope_head_dim : hf.qk_head_dim() + hf.v_head_dim;
  const double attention = pairs * static_cast<double>(hf.num_attention_heads * width) * layers;
  const double experts = tokens * static_cast<double>(weights.moe_layers * hf.num_experts_per_tok) * weights.expert_products;
  const double cached = (static_cast<double>(size.depth) + tokens) * static_cast<double>(size.cache_row_bytes) * layers;
  return {.bytes = weights.fixed_bytes + tokens * weights.embedding_bytes + size.experts_touched * weights.expert_bytes + cached,
          .flop = 2.0 * (tokens * weights.fixed_products + weights.head_products + experts + attention)};
}

}  // namespace meshseek::cli

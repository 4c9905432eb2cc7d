#include "modules/moe_gate/moe_gate.hpp"
#include "ops/standard_linear_config.hpp"

namespace meshseek {

MoeGate::Config MoeGate::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  // Unknown names were refused when config.json was read.
  Config config;
  config.linear = prefill_linear_config({hf.n_routed_experts, hf.hidden_size}, MathFidelity::HiFi4, mesh.device);
  config.linear.dtype = DataType::float32;
  config.router = {.scoring_func = enum_value<ScoringFunc>(hf.scoring_func).value(),
                   .topk_method = enum_value<TopkMethod>(hf.topk_method).value(),
                   .num_experts_per_tok = hf.num_experts_per_tok,
                   .n_group = hf.n_group,
                   .topk_group = hf.topk_group,
                   .norm_topk_prob = hf.norm_topk_prob,
                   .routed_scaling_factor = hf.routed_scaling_factor};
  // Where there are no groups, config.json's numbers of them mean nothing.
  if (config.router.topk_method == TopkMethod::greedy) config.router.n_group = 1;
  if (config.router.n_group == 1) config.router.topk_group = 1;
  if (config.router.topk_method == TopkMethod::noaux_tc) config.router.e_score_correction_bias = WeightSlot{.shape = {hf.n_routed_experts}};
  return config;
}

MoeGate::Config MoeGate::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = prefill_model_config(hf, mesh);
  config.linear = decode_linear_config({hf.n_routed_experts, hf.hidden_size}, MathFidelity::HiFi4, mesh.device);
  config.linear.dtype = DataType::float32;
  return config;
}

}  // namespace meshseek

#include "modules/experts/experts.hpp"

namespace meshseek {

Experts::Config Experts::prefill_model_config(const HfConfig& hf, const MeshDevice&) {
  const ComputeKernelConfig compute = {.math_fidelity = MathFidelity::LoFi};
  const std::int64_t num_experts = hf.n_routed_experts;
  Config config;
  config.w1 = {.input_tensor_b = {.shape = {num_experts, hf.moe_intermediate_size, hf.hidden_size}}, .compute_kernel_config = compute};
  config.w3 = {.input_tensor_b = {.shape = {num_experts, hf.moe_intermediate_size, hf.hidden_size}}, .compute_kernel_config = compute};
  config.mul = {.input_tensor_a_activations = {UnaryOpType::SILU}};
  config.w2 = {.input_tensor_b = {.shape = {num_experts, hf.hidden_size, hf.moe_intermediate_size}}, .compute_kernel_config = compute};
  return config;
}

Experts::Config Experts::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

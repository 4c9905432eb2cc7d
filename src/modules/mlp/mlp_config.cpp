#include "modules/mlp/mlp.hpp"

namespace meshseek {

Mlp::Config gated_mlp_config(std::int64_t hidden_size, std::int64_t inner) {
  // Block-float weights times int8 activations: both lose about as much, and it is the fastest path.
  const ComputeKernelConfig compute = {.math_fidelity = MathFidelity::LoFi};
  Mlp::Config config;
  config.w1 = {.input_tensor_b = {.shape = {inner, hidden_size}}, .compute_kernel_config = compute};
  config.w3 = {.input_tensor_b = {.shape = {inner, hidden_size}}, .compute_kernel_config = compute};
  config.mul = {.input_tensor_a_activations = {UnaryOpType::SILU}};
  config.w2 = {.input_tensor_b = {.shape = {hidden_size, inner}}, .compute_kernel_config = compute};
  return config;
}

Mlp::Config Mlp::prefill_model_config(const HfConfig& hf, const MeshDevice&) { return gated_mlp_config(hf.hidden_size, hf.intermediate_size); }

Mlp::Config Mlp::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

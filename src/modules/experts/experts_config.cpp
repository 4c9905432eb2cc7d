#include <utility>

#include "mesh/shards.hpp"
#include "modules/experts/experts.hpp"
#include "ops/standard_linear_config.hpp"

namespace meshseek {
namespace {

/// As in a dense block: int8 activations lose about as much as block-float weights do.
constexpr MathFidelity kFidelity = MathFidelity::LoFi;

}  // namespace

Experts::Config Experts::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  const std::int64_t num_experts = experts_per_device(hf.n_routed_experts, mesh.shape);
  const std::int64_t inner = expert_inner(hf.moe_intermediate_size, mesh.shape);
  const Shape up_shape = {num_experts, inner, hf.hidden_size};
  const Shape down_shape = cuts_experts(mesh.shape) && mesh.joins_outputs()
                               ? Shape{num_experts, column_piece(hf.hidden_size, mesh.shape), hf.moe_intermediate_size}
                               : Shape{num_experts, hf.hidden_size, inner};
  Config config;
  // Each program_config is dynamic: program_rule makes it from the number of rows that the router sent.
  config.w1 = prefill_linear_config(up_shape, kFidelity, mesh.device);
  config.w3 = prefill_linear_config(up_shape, kFidelity, mesh.device);
  config.mul = {.input_tensor_a_activations = {UnaryOpType::SILU}};
  config.w2 = prefill_linear_config(down_shape, kFidelity, mesh.device);
  return config;
}

Experts::Config Experts::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = prefill_model_config(hf, mesh);
  for (LinearConfig* linear : {&config.w1, &config.w3, &config.w2}) *linear = without_tiles(std::move(*linear), mesh.device);
  // A token visits a few experts: what they compute of it stays in L1.
  const std::int64_t values = hf.num_experts_per_tok * std::max(hf.moe_intermediate_size, hf.hidden_size);
  if (!fits_l1(values, mesh.device)) return config;
  for (LinearConfig* linear : {&config.w1, &config.w3, &config.w2}) linear->memory_config = L1_MEMORY_CONFIG;
  config.mul.memory_config = L1_MEMORY_CONFIG;
  return config;
}

}  // namespace meshseek

#include "modules/shared_expert/shared_expert.hpp"

namespace meshseek {

SharedExpert::Config SharedExpert::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return prefill_gated_mlp_config(hf.hidden_size, hf.n_shared_experts * hf.moe_intermediate_size, mesh);
}

SharedExpert::Config SharedExpert::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return decode_gated_mlp_config(hf.hidden_size, hf.n_shared_experts * hf.moe_intermediate_size, mesh);
}

}  // namespace meshseek

#include "modules/moe/moe.hpp"
#include "ops/standard_linear_config.hpp"

namespace meshseek {

Moe::Config Moe::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config;
  config.gate = MoeGate::prefill_model_config(hf, mesh);
  config.experts = Experts::prefill_model_config(hf, mesh);
  if (hf.n_shared_experts > 0) {
    config.shared_expert = SharedExpert::prefill_model_config(hf, mesh);
    config.add_shared = BinaryConfig{};
  }
  return config;
}

Moe::Config Moe::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = prefill_model_config(hf, mesh);
  config.gate = MoeGate::decode_model_config(hf, mesh);
  config.experts = Experts::decode_model_config(hf, mesh);
  if (fits_l1(hf.num_experts_per_tok * hf.hidden_size, mesh.device)) {
    config.dispatch.memory_config = L1_MEMORY_CONFIG;
    config.combine.memory_config = L1_MEMORY_CONFIG;
    if (config.add_shared) config.add_shared->memory_config = L1_MEMORY_CONFIG;
  }
  if (config.shared_expert) config.shared_expert = SharedExpert::decode_model_config(hf, mesh);
  return config;
}

}  // namespace meshseek

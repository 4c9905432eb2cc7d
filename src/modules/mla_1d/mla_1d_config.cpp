#include "modules/mla_1d/mla_1d.hpp"

namespace meshseek {

Mla1d::Config Mla1d::prefill_model_config(const HfConfig& hf, const MeshDevice&) {
  Config config = {.all_reduce = {.cluster_axis = 1}, .reduce_scatter = {.cluster_axis = 1}};
  if (hf.q_lora_rank == 0) config.all_gather = AllGatherConfig{.cluster_axis = 1};
  return config;
}

Mla1d::Config Mla1d::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

#include "modules/mla_1d/mla_1d.hpp"

namespace meshseek {

Mla1d::Config Mla1d::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  if (mesh.joins_outputs())
    return {.gather_outputs = AllGatherConfig{.cluster_axis = 1}, .gather_heads = AllGatherConfig{.cluster_axis = 1}};
  Config config = {.all_reduce = AllReduceConfig{.cluster_axis = 1}, .reduce_scatter = ReduceScatterConfig{.cluster_axis = 1}};
  if (hf.q_lora_rank == 0) config.all_gather = AllGatherConfig{.cluster_axis = 1};
  return config;
}

Mla1d::Config Mla1d::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

#include "modules/mla_2d/mla_2d.hpp"

namespace meshseek {

Mla2d::Config Mla2d::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = {.heads_to_users = {.cluster_axis = 1},
                   .users_to_heads = {.cluster_axis = 1},
                   .gather_latents = {.cluster_axis = 0, .dim = 0, .uneven = true}};
  if (mesh.joins_outputs()) {
    config.gather_outputs = config.gather_heads = AllGatherConfig{.cluster_axis = 1};
    return config;
  }
  config.all_reduce = AllReduceConfig{.cluster_axis = 1};
  config.reduce_scatter = ReduceScatterConfig{.cluster_axis = 1};
  if (hf.q_lora_rank == 0) config.all_gather = AllGatherConfig{.cluster_axis = 1};
  return config;
}

Mla2d::Config Mla2d::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

#include "modules/lm_head_1d/lm_head_1d.hpp"

namespace meshseek {

LmHead1d::Config LmHead1d::prefill_model_config(const HfConfig&, const MeshDevice& mesh) {
  if (mesh.joins_outputs()) return {.gather_logits = {.cluster_axis = 1}};
  return {.all_gather = AllGatherConfig{.cluster_axis = 1}, .gather_logits = {.cluster_axis = 1}};
}

LmHead1d::Config LmHead1d::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

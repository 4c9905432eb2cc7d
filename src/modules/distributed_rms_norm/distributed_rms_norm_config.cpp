#include "modules/distributed_rms_norm/distributed_rms_norm.hpp"

namespace meshseek {

DistributedRmsNorm::Config DistributedRmsNorm::prefill_model_config(const HfConfig&, const MeshDevice& mesh) {
  if (mesh.joins_outputs()) return {.gather_tokens = AllGatherConfig{.cluster_axis = 1}};
  return {.all_gather = AllGatherConfig{.cluster_axis = 1}};
}

DistributedRmsNorm::Config DistributedRmsNorm::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return prefill_model_config(hf, mesh);
}

}  // namespace meshseek

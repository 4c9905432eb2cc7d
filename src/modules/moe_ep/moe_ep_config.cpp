#include "mesh/shards.hpp"
#include "modules/moe_ep/moe_ep.hpp"

namespace meshseek {

MoeEp::Config MoeEp::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config;
  const std::int64_t per_device = experts_per_device(hf.n_routed_experts, mesh.shape);
  for (std::int64_t expert_idx = 0; expert_idx < hf.n_routed_experts; ++expert_idx) config.expert_map.push_back(expert_idx / per_device);
  config.columns = ColumnSplit::prefill_model_config(hf, mesh);
  if (mesh.joins_outputs()) config.pieces_of_rows = AllToAllRowsConfig{.cluster_axis = 1};
  config.exchange = ExpertExchange::prefill_model_config(hf, mesh);
  return config;
}

MoeEp::Config MoeEp::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

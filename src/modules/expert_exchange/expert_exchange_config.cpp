#include "modules/expert_exchange/expert_exchange.hpp"

namespace meshseek {

ExpertExchange::Config ExpertExchange::prefill_model_config(const HfConfig&, const MeshDevice&) {
  return {.counts = {.cluster_axis = 0, .in_dim = 0, .out_dim = 1}, .dispatch = {.cluster_axis = 0}, .combine = {.cluster_axis = 0}};
}

ExpertExchange::Config ExpertExchange::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return prefill_model_config(hf, mesh);
}

}  // namespace meshseek

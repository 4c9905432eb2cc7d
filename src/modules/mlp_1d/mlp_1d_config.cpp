#include "modules/mlp_1d/mlp_1d.hpp"

namespace meshseek {

Mlp1d::Config Mlp1d::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return ColumnSplit::prefill_model_config(hf, mesh);
}

Mlp1d::Config Mlp1d::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return ColumnSplit::decode_model_config(hf, mesh); }

}  // namespace meshseek

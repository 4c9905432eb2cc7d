#include "modules/moe_1d/moe_1d.hpp"

namespace meshseek {

Moe1d::Config Moe1d::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  return ColumnSplit::prefill_model_config(hf, mesh);
}

Moe1d::Config Moe1d::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return ColumnSplit::decode_model_config(hf, mesh); }

}  // namespace meshseek

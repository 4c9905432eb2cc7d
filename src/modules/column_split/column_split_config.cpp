#include "modules/column_split/column_split.hpp"

namespace meshseek {

ColumnSplit::Config ColumnSplit::prefill_model_config(const HfConfig&, const MeshDevice&) {
  return {.all_gather = {.cluster_axis = 1}, .reduce_scatter = {.cluster_axis = 1}};
}

ColumnSplit::Config ColumnSplit::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

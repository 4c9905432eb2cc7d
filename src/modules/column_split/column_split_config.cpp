#include "modules/column_split/column_split.hpp"

namespace meshseek {

ColumnSplit::Config ColumnSplit::prefill_model_config(const HfConfig&, const MeshDevice& mesh) {
  if (mesh.joins_outputs()) return {.gather_inner = AllGatherConfig{.cluster_axis = 1}};
  return {.all_gather = AllGatherConfig{.cluster_axis = 1}, .reduce_scatter = ReduceScatterConfig{.cluster_axis = 1}};
}

ColumnSplit::Config ColumnSplit::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) { return prefill_model_config(hf, mesh); }

}  // namespace meshseek

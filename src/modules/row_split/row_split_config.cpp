#include "modules/row_split/row_split.hpp"

namespace meshseek {

RowSplit::Config RowSplit::prefill_model_config(const HfConfig&, const MeshDevice&) {
  return {.tokens_over_rows = TokensOverRows::sequence, .collect = {.cluster_axis = 0}};
}

RowSplit::Config RowSplit::decode_model_config(const HfConfig&, const MeshDevice&) {
  return {.tokens_over_rows = TokensOverRows::users, .collect = {.cluster_axis = 0}};
}

}  // namespace meshseek

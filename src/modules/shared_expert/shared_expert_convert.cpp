#include "hf/state_dict_view.hpp"
#include "modules/shared_expert/shared_expert.hpp"

namespace meshseek {

WeightConfig SharedExpert::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                           const MeshShape&) {
  return convert_gated_mlp(hf.hidden_size, hf.n_shared_experts * hf.moe_intermediate_size, state_dict, output);
}

}  // namespace meshseek

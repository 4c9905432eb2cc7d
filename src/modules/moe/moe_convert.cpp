#include "hf/state_dict_view.hpp"
#include "modules/moe/moe.hpp"

namespace meshseek {

WeightConfig Moe::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape& mesh) {
  WeightConfig config;
  config.set("gate", MoeGate::convert_weights(hf, state_dict.sub("gate"), output.sub("gate"), mesh));
  config.set("experts", Experts::convert_weights(hf, state_dict.sub("experts"), output.sub("experts"), mesh));
  if (hf.n_shared_experts > 0) {
    config.set("shared_expert", SharedExpert::convert_weights(hf, state_dict.sub("shared_experts"), output.sub("shared_expert"), mesh));
  }
  return config;
}

}  // namespace meshseek

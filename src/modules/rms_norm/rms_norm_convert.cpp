#include "hf/state_dict_view.hpp"
#include "modules/rms_norm/rms_norm.hpp"

namespace meshseek {

WeightConfig RmsNorm::convert_weights(const Spec& spec, const StateDictView& state_dict, const WeightOutput& output, const MeshShape&) {
  WeightConfig config;
  config.set("weight", output.write("weight", {spec.dim}, state_dict.rows("weight", {spec.dim}), WeightRole::precise));
  return config;
}

}  // namespace meshseek

#include "hf/state_dict_view.hpp"
#include "modules/mlp/mlp.hpp"

namespace meshseek {

WeightConfig convert_gated_mlp(std::int64_t hidden_size, std::int64_t inner, const StateDictView& state_dict, const WeightOutput& output) {
  WeightConfig config;
  config.set("w1", convert_linear(state_dict, "gate_proj", {.out = inner, .in = hidden_size, .split = split_outputs()}, output.sub("w1")));
  config.set("w3", convert_linear(state_dict, "up_proj", {.out = inner, .in = hidden_size, .split = split_outputs()}, output.sub("w3")));
  config.set("w2",
             convert_linear(state_dict, "down_proj", {.out = hidden_size, .in = inner, .split = output.split_product()}, output.sub("w2")));
  return config;
}

WeightConfig Mlp::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape&) {
  return convert_gated_mlp(hf.hidden_size, hf.intermediate_size, state_dict, output);
}

}  // namespace meshseek

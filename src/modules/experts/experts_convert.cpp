#include <string>

#include "hf/state_dict_view.hpp"
#include "modules/experts/experts.hpp"

namespace meshseek {
namespace {

Tree convert_stack(std::string_view hf_name, const Shape& shape, const StateDictView& state_dict, const WeightOutput& output) {
  const auto load_expert = [&](std::int64_t expert_idx) {
    return state_dict.sub(std::to_string(expert_idx)).sub(hf_name).load("weight", {shape[1], shape[2]});
  };
  Tree entry;
  entry.set("input_tensor_b", output.write_stack("input_tensor_b", shape, load_expert, WeightRole::projection));
  return entry;
}

}  // namespace

WeightConfig Experts::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape&) {
  const Shape up_shape = {hf.n_routed_experts, hf.moe_intermediate_size, hf.hidden_size};
  const Shape down_shape = {hf.n_routed_experts, hf.hidden_size, hf.moe_intermediate_size};
  WeightConfig config;
  config.set("w1", convert_stack("gate_proj", up_shape, state_dict, output.sub("w1")));
  config.set("w3", convert_stack("up_proj", up_shape, state_dict, output.sub("w3")));
  config.set("w2", convert_stack("down_proj", down_shape, state_dict, output.sub("w2")));
  return config;
}

}  // namespace meshseek

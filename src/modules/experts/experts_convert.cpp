#include <string>
#include <utility>

#include "hf/state_dict_view.hpp"
#include "modules/experts/experts.hpp"

namespace meshseek {
namespace {

/// The experts' matrices one after the other; whole experts go to the devices.
Tree convert_stack(std::string_view hf_name, const Shape& shape, const StateDictView& state_dict, const WeightOutput& output) {
  WeightRows rows;
  for (std::int64_t expert_idx = 0; expert_idx < shape[0]; ++expert_idx) {
    WeightRows expert = state_dict.sub(std::to_string(expert_idx)).sub(hf_name).rows("weight", {shape[1], shape[2]});
    rows.source = expert.source;
    rows.rows.push_back(std::move(expert.rows.front()));
  }
  const WeightSplit whole_experts = {.over = WeightSplit::Over::devices, .dim = 0};
  Tree entry;
  entry.set("input_tensor_b", output.write("input_tensor_b", shape, std::move(rows), WeightRole::projection, whole_experts));
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

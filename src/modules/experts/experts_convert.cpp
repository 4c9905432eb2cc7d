#include <string>
#include <utility>

#include "hf/state_dict_view.hpp"
#include "mesh/shards.hpp"
#include "modules/experts/experts.hpp"

namespace meshseek {
namespace {

/// A stack is cut as its matrices are, or whole experts go to the devices.
WeightSplit split_stack(WeightSplit of_matrix, const MeshShape& mesh) {
  if (!cuts_experts(mesh)) return {.over = WeightSplit::Over::devices, .dim = 0};
  ++of_matrix.dim;
  return of_matrix;
}

/// The experts' matrices one after the other.
Tree convert_stack(std::string_view hf_name, const Shape& shape, const WeightSplit& split, const StateDictView& state_dict,
                   const WeightOutput& output) {
  WeightRows rows;
  for (std::int64_t expert_idx = 0; expert_idx < shape[0]; ++expert_idx) {
    WeightRows expert = state_dict.sub(std::to_string(expert_idx)).sub(hf_name).rows("weight", {shape[1], shape[2]});
    rows.source = expert.source;
    rows.rows.push_back(std::move(expert.rows.front()));
  }
  Tree entry;
  entry.set("input_tensor_b", output.write("input_tensor_b", shape, std::move(rows), WeightRole::projection, split));
  return entry;
}

}  // namespace

WeightConfig Experts::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh) {
  const Shape up_shape = {hf.n_routed_experts, hf.moe_intermediate_size, hf.hidden_size};
  const Shape down_shape = {hf.n_routed_experts, hf.hidden_size, hf.moe_intermediate_size};
  const WeightSplit up = split_stack(split_outputs(), mesh);
  const WeightSplit down = split_stack(output.split_product(), mesh);
  WeightConfig config;
  config.set("w1", convert_stack("gate_proj", up_shape, up, state_dict, output.sub("w1")));
  config.set("w3", convert_stack("up_proj", up_shape, up, state_dict, output.sub("w3")));
  config.set("w2", convert_stack("down_proj", down_shape, down, state_dict, output.sub("w2")));
  return config;
}

}  // namespace meshseek

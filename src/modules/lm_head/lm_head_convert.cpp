#include "hf/state_dict_view.hpp"
#include "modules/lm_head/lm_head.hpp"

namespace meshseek {

WeightConfig LmHead::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape&) {
  const Shape shape = {hf.vocab_size, hf.hidden_size};
  WeightConfig config;
  config.set("input_tensor_b",
             output.write("input_tensor_b", shape, state_dict.rows("weight", shape), WeightRole::projection, split_outputs()));
  return config;
}

}  // namespace meshseek

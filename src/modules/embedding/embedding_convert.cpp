#include "hf/state_dict_view.hpp"
#include "modules/embedding/embedding.hpp"

namespace meshseek {

WeightConfig Embedding::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape&) {
  const Shape shape = {hf.vocab_size, hf.hidden_size};
  WeightConfig config;
  // Each column of the mesh looks up its part of the hidden size.
  config.set("weight", output.write("weight", shape, state_dict.rows("embed_tokens.weight", shape), WeightRole::precise, split_inputs()));
  return config;
}

}  // namespace meshseek

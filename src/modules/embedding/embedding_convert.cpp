#include "hf/state_dict_view.hpp"
#include "modules/embedding/embedding.hpp"

namespace meshseek {

WeightConfig Embedding::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape&) {
  const Shape shape = {hf.vocab_size, hf.hidden_size};
  WeightConfig config;
  config.set("weight", output.write("weight", shape, state_dict.load("embed_tokens.weight", shape), WeightRole::precise));
  return config;
}

}  // namespace meshseek

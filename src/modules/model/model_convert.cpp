#include <string>

#include "hf/state_dict_view.hpp"
#include "modules/model/model.hpp"

namespace meshseek {

WeightConfig Model::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                    const MeshShape& mesh) {
  const StateDictView body = state_dict.sub("model");
  const StateDictView layers = body.sub("layers");
  WeightConfig config;
  config.set("embedding", Embedding::convert_weights(hf, body, output.sub("embedding"), mesh));
  Tree layer_configs(Tree::Object{});
  for (std::int64_t layer_idx = 0; layer_idx < hf.num_hidden_layers; ++layer_idx) {
    const std::string name = std::to_string(layer_idx);
    layer_configs.set(
        name, DecoderBlock::convert_weights(hf, hf.is_moe_layer(layer_idx), layers.sub(name), output.layer("layers", layer_idx), mesh));
  }
  config.set("layers", std::move(layer_configs));
  config.set("norm", RmsNorm::convert_weights({hf.hidden_size, hf.rms_norm_eps}, body.sub("norm"), output.sub("norm"), mesh));
  const StateDictView head = hf.tie_word_embeddings ? body.sub("embed_tokens") : state_dict.sub("lm_head");
  config.set("lm_head", LmHead::convert_weights(hf, head, output.sub("lm_head"), mesh));
  Tree mtp_configs(Tree::Object{});
  for (std::int64_t module_idx = 0; module_idx < hf.num_nextn_predict_layers; ++module_idx) {
    const StateDictView module = layers.sub(std::to_string(hf.num_hidden_layers + module_idx));
    mtp_configs.set(std::to_string(module_idx), Mtp::convert_weights(hf, module, output.layer("mtp", module_idx), mesh, config));
  }
  if (hf.num_nextn_predict_layers > 0) config.set("mtp", std::move(mtp_configs));
  return config;
}

}  // namespace meshseek

#include "hf/state_dict_view.hpp"
#include "modules/mtp/mtp.hpp"

namespace meshseek {

WeightConfig Mtp::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape& mesh,
                                  const WeightConfig& main_model) {
  const RmsNorm::Spec norm = {hf.hidden_size, hf.rms_norm_eps};
  WeightConfig config;
  config.set("embedding", state_dict.contains("embed_tokens.weight")
                              ? Embedding::convert_weights(hf, state_dict, output.sub("embedding"), mesh)
                              : *main_model.find("embedding"));
  config.set("enorm", RmsNorm::convert_weights(norm, state_dict.sub("enorm"), output.sub("enorm"), mesh));
  config.set("hnorm", RmsNorm::convert_weights(norm, state_dict.sub("hnorm"), output.sub("hnorm"), mesh));
  config.set("eh_proj",
             convert_linear(state_dict, "eh_proj",
                            {.out = hf.hidden_size, .in = 2 * hf.hidden_size, .split = split_outputs(), .role = WeightRole::precise},
                            output.sub("eh_proj")));
  config.set("block", DecoderBlock::convert_weights(hf, hf.is_moe_layer(hf.num_hidden_layers), state_dict, output.sub("block"), mesh));
  const StateDictView head = state_dict.sub("shared_head");
  config.set("norm", RmsNorm::convert_weights(norm, head.sub("norm"), output.sub("norm"), mesh));
  const bool own_head = !hf.tie_word_embeddings && head.contains("head.weight");
  config.set("lm_head",
             own_head ? LmHead::convert_weights(hf, head.sub("head"), output.sub("lm_head"), mesh) : *main_model.find("lm_head"));
  return config;
}

}  // namespace meshseek

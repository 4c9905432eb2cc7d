#include "hf/state_dict_view.hpp"
#include "modules/decoder_block/decoder_block.hpp"

namespace meshseek {

WeightConfig DecoderBlock::convert_weights(const HfConfig& hf, bool is_moe, const StateDictView& state_dict, const WeightOutput& output,
                                           const MeshShape& mesh) {
  const RmsNorm::Spec norm = {hf.hidden_size, hf.rms_norm_eps};
  WeightConfig config;
  config.set("input_layernorm", RmsNorm::convert_weights(norm, state_dict.sub("input_layernorm"), output.sub("input_layernorm"), mesh));
  config.set("mla", Mla::convert_weights(hf, state_dict.sub("self_attn"), output.sub("mla"), mesh));
  config.set("post_attention_layernorm",
             RmsNorm::convert_weights(norm, state_dict.sub("post_attention_layernorm"), output.sub("post_attention_layernorm"), mesh));
  if (is_moe) {
    config.set("moe", Moe::convert_weights(hf, state_dict.sub("mlp"), output.sub("moe"), mesh));
  } else {
    config.set("mlp", Mlp::convert_weights(hf, state_dict.sub("mlp"), output.sub("mlp"), mesh));
  }
  return config;
}

}  // namespace meshseek

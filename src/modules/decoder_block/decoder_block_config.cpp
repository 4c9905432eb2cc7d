#include "modules/decoder_block/decoder_block.hpp"

namespace meshseek {

DecoderBlock::Config DecoderBlock::prefill_model_config(const HfConfig& hf, bool is_moe, const MeshDevice& mesh) {
  Config config;
  config.input_layernorm = RmsNorm::prefill_model_config({hf.hidden_size, hf.rms_norm_eps}, mesh);
  config.mla = Mla::prefill_model_config(hf, mesh);
  config.post_attention_layernorm = RmsNorm::prefill_model_config({hf.hidden_size, hf.rms_norm_eps}, mesh);
  if (is_moe) {
    config.moe = Moe::prefill_model_config(hf, mesh);
  } else {
    config.mlp = Mlp::prefill_model_config(hf, mesh);
  }
  if (mesh.shape.cols > 1) {
    config.distributed_rms_norm = DistributedRmsNorm::prefill_model_config(hf, mesh);
    if (mesh.shape.rows == 1) config.mla_1d = Mla1d::prefill_model_config(hf, mesh);
    if (!is_moe) config.mlp_1d = Mlp1d::prefill_model_config(hf, mesh);
    if (is_moe && mesh.shape.rows == 1) config.moe_1d = Moe1d::prefill_model_config(hf, mesh);
  }
  if (mesh.shape.rows > 1) config.mla_2d = Mla2d::prefill_model_config(hf, mesh);
  if (is_moe && mesh.shape.rows > 1) config.moe_ep = MoeEp::prefill_model_config(hf, mesh);
  return config;
}

DecoderBlock::Config DecoderBlock::decode_model_config(const HfConfig& hf, bool is_moe, const MeshDevice& mesh) {
  Config config;
  const RmsNorm::Spec norm = {.dim = hf.hidden_size, .epsilon = hf.rms_norm_eps, .feeds_products = true};
  config.input_layernorm = RmsNorm::decode_model_config(norm, mesh);
  config.mla = Mla::decode_model_config(hf, mesh);
  config.post_attention_layernorm = RmsNorm::decode_model_config(norm, mesh);
  if (is_moe) {
    config.moe = Moe::decode_model_config(hf, mesh);
  } else {
    config.mlp = Mlp::decode_model_config(hf, mesh);
  }
  if (mesh.shape.cols > 1) {
    config.distributed_rms_norm = DistributedRmsNorm::decode_model_config(hf, mesh);
    if (mesh.shape.rows == 1) config.mla_1d = Mla1d::decode_model_config(hf, mesh);
    if (!is_moe) config.mlp_1d = Mlp1d::decode_model_config(hf, mesh);
    if (is_moe && mesh.shape.rows == 1) config.moe_1d = Moe1d::decode_model_config(hf, mesh);
  }
  if (mesh.shape.rows > 1) config.mla_2d = Mla2d::decode_model_config(hf, mesh);
  if (is_moe && mesh.shape.rows > 1) config.moe_ep = MoeEp::decode_model_config(hf, mesh);
  return config;
}

}  // namespace meshseek

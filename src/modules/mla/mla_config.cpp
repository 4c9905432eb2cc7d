#include "modules/mla/mla.hpp"
#include "modules/rope/yarn.hpp"

namespace meshseek {
namespace {

LinearConfig projection(Shape shape, MathFidelity fidelity) {
  return {.input_tensor_b = {.shape = std::move(shape)}, .compute_kernel_config = {.math_fidelity = fidelity}};
}

/// What both modes share; `fidelity` is that of the large projections.
Mla::Config base_config(const HfConfig& hf, const MeshDevice& mesh, MathFidelity fidelity) {
  const std::int64_t heads = hf.num_attention_heads;
  const std::int64_t rank = hf.kv_lora_rank;
  const std::int64_t q_dim = heads * hf.qk_head_dim();
  Mla::Config config;
  if (hf.q_lora_rank == 0) {
    config.wq = projection({q_dim, hf.hidden_size}, fidelity);
  } else {
    config.wq_a = projection({hf.q_lora_rank, hf.hidden_size}, fidelity);
    config.q_norm = RmsNorm::prefill_model_config({hf.q_lora_rank, RmsNorm::kLatentEpsilon}, mesh);
    config.wq_b = projection({q_dim, hf.q_lora_rank}, fidelity);
  }
  config.wkv_a = projection({rank + hf.qk_rope_head_dim, hf.hidden_size}, fidelity);
  config.kv_norm = RmsNorm::prefill_model_config({rank, RmsNorm::kLatentEpsilon}, mesh);
  config.rope = Rope::prefill_model_config(hf, mesh);
  config.wkv_b1 = projection({heads, hf.qk_nope_head_dim, rank}, MathFidelity::HiFi2);
  config.wkv_b2 = projection({heads, hf.v_head_dim, rank}, MathFidelity::HiFi2);
  config.flash_mla.scale = mla_softmax_scale(hf);
  config.wo = projection({hf.hidden_size, heads * hf.v_head_dim}, fidelity);
  if (hf.attention_bias) {
    if (config.wq_a) config.wq_a->bias = WeightSlot{.shape = {hf.q_lora_rank}};
    config.wkv_a.bias = WeightSlot{.shape = {rank + hf.qk_rope_head_dim}};
    config.wo.bias = WeightSlot{.shape = {hf.hidden_size}};
  }
  return config;
}

}  // namespace

Mla::Config Mla::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = base_config(hf, mesh, MathFidelity::HiFi2);
  config.flash_mla.form = MlaForm::naive;
  return config;
}

Mla::Config Mla::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = base_config(hf, mesh, MathFidelity::LoFi);
  config.flash_mla.form = MlaForm::absorbed;
  config.wkv_b1.transpose_b = false;  // queries go into the latent space: [.., dn] times [dn, r]
  return config;
}

}  // namespace meshseek

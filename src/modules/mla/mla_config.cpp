#include <utility>

#include "mesh/shards.hpp"
#include "modules/mla/mla.hpp"
#include "modules/rope/yarn.hpp"
#include "ops/standard_linear_config.hpp"

namespace meshseek {
namespace {

using MakeLinear = LinearConfig (*)(Shape shape, MathFidelity fidelity, const DeviceDescription& device, bool transpose_b);

/// On a mesh each column has its heads and its part of the hidden size. What comes of a part of the inputs is a term of a sum: float32.
void sum_over_columns(Mla::Config& config) {
  if (config.wq_a) config.wq_a->dtype = DataType::float32;
  config.wkv_a.dtype = DataType::float32;
  config.wo.dtype = DataType::float32;
}

/// What both modes share; `fidelity` is that of the large projections, and `make_linear` makes their configs.
Mla::Config base_config(const HfConfig& hf, const MeshDevice& mesh, MathFidelity fidelity, MakeLinear make_linear) {
  const auto projection = [&](Shape shape, MathFidelity precision) { return make_linear(std::move(shape), precision, mesh.device, true); };
  const std::int64_t heads = column_piece(hf.num_attention_heads, mesh.shape, 1);
  // What is cut over the columns: the inputs of a product, or its outputs.
  const auto inputs = [&](std::int64_t size, std::int64_t piece) { return mesh.joins_outputs() ? size : piece; };
  const auto outputs = [&](std::int64_t size) { return mesh.joins_outputs() ? column_piece(size, mesh.shape) : size; };
  const std::int64_t hidden_in = inputs(hf.hidden_size, column_piece(hf.hidden_size, mesh.shape));
  const std::int64_t rank = hf.kv_lora_rank;
  const std::int64_t q_dim = heads * hf.qk_head_dim();
  Mla::Config config;
  if (hf.q_lora_rank == 0) {
    config.wq = projection({q_dim, hf.hidden_size}, fidelity);
  } else {
    config.wq_a = projection({outputs(hf.q_lora_rank), hidden_in}, fidelity);
    config.q_norm = RmsNorm::prefill_model_config({hf.q_lora_rank, RmsNorm::kLatentEpsilon}, mesh);
    config.wq_b = projection({q_dim, hf.q_lora_rank}, fidelity);
  }
  config.wkv_a = projection({outputs(rank + hf.qk_rope_head_dim), hidden_in}, fidelity);
  config.kv_norm = RmsNorm::prefill_model_config({rank, RmsNorm::kLatentEpsilon}, mesh);
  config.rope = Rope::prefill_model_config(hf, mesh);
  config.wkv_b1 = projection({heads, hf.qk_nope_head_dim, rank}, MathFidelity::HiFi2);
  config.wkv_b2 = projection({heads, hf.v_head_dim, rank}, MathFidelity::HiFi2);
  config.flash_mla.scale = mla_softmax_scale(hf);
  // The absorbed form would take tiles where a column has 16 heads or more.
  if (mesh.deterministic) config.flash_mla.compute_kernel_config.math_fidelity = MathFidelity::HiFi4;
  config.wo = projection({outputs(hf.hidden_size), inputs(hf.num_attention_heads, heads) * hf.v_head_dim}, fidelity);
  if (mesh.shape.cols > 1 && !mesh.joins_outputs()) sum_over_columns(config);
  if (hf.attention_bias) {
    if (config.wq_a) config.wq_a->bias = WeightSlot{.shape = {outputs(hf.q_lora_rank)}};
    config.wkv_a.bias = WeightSlot{.shape = {outputs(rank + hf.qk_rope_head_dim)}};
    config.wo.bias = WeightSlot{.shape = {outputs(hf.hidden_size)}};
  }
  return config;
}

}  // namespace

Mla::Config Mla::prefill_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = base_config(hf, mesh, MathFidelity::HiFi2, prefill_linear_config);
  config.flash_mla.form = MlaForm::naive;
  return config;
}

Mla::Config Mla::decode_model_config(const HfConfig& hf, const MeshDevice& mesh) {
  Config config = base_config(hf, mesh, MathFidelity::LoFi, decode_linear_config);
  config.flash_mla.form = MlaForm::absorbed;
  // Queries go into the latent space: [.., dn] times [dn, r].
  config.wkv_b1 = decode_linear_config(config.wkv_b1.input_tensor_b.shape, MathFidelity::HiFi2, mesh.device, false);
  config.wkv_b2.compute_kernel_config.math_fidelity = MathFidelity::LoFi;
  config.kv_norm.memory_config = L1_MEMORY_CONFIG;
  if (config.q_norm) {
    config.q_norm->memory_config = L1_MEMORY_CONFIG;
    config.q_norm->quantise = true;  // wq_b follows
  }
  if (fits_l1(column_piece(hf.num_attention_heads, mesh.shape, 1) * hf.kv_lora_rank, mesh.device))
    config.flash_mla.memory_config = L1_MEMORY_CONFIG;
  return config;
}

}  // namespace meshseek

#include "hf/generated_tensors.hpp"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "hf/random_stream.hpp"

namespace meshseek {
namespace {

constexpr double kExpertSpread = 0.3;  ///< experts differ in size by up to 30 %
constexpr double kBlockNormDeviation = 0.05;
constexpr double kEmbeddingDeviation = 0.02;
constexpr double kBiasDeviation = 0.02;
constexpr double kCorrectionDeviation = 0.02;
constexpr double kLogitDeviation = 2.0;
constexpr double kEhProjDeviation = 0.005;
constexpr double kRouterGain = 0.8;  ///< of Kaiming's uniform distribution

/// Standard deviations of the three projections of a gated block.
struct GatedDeviations {
  double gate = 0.0;
  double up = 0.0;
  double down = 0.0;
};
constexpr GatedDeviations kDense = {0.0035, 0.0035, 0.0055};
constexpr GatedDeviations kShared = {0.0040, 0.0038, 0.0060};
constexpr GatedDeviations kExpert = {0.00365, 0.00355, 0.0056};

/// Collects the tensors of one config.
class TensorList {
 public:
  TensorList(const HfConfig& hf, std::uint64_t seed) : hf_(hf), seed_(seed) {}

  std::vector<GeneratedTensor> build() && {
    add_embedding("model.embed_tokens.weight");
    for (std::int64_t layer_idx = 0; layer_idx < hf_.num_hidden_layers; ++layer_idx) add_layer(layer_idx);
    add_norm("model.norm", hf_.hidden_size, 1.0, kBlockNormDeviation);
    if (!hf_.tie_word_embeddings) add_head("lm_head.weight");
    for (std::int64_t module_idx = 0; module_idx < hf_.num_nextn_predict_layers; ++module_idx) add_mtp(hf_.num_hidden_layers + module_idx);
    return std::move(tensors_);
  }

 private:
  GeneratedTensor& add(const std::string& name, Shape shape, double deviation) {
    tensors_.push_back({.name = name, .values_of = name, .shape = std::move(shape), .deviation = deviation});
    return tensors_.back();
  }

  void add_norm(const std::string& name, std::int64_t dim, double mean, double deviation) {
    add(name + ".weight", {dim}, deviation).mean = mean;
  }

  /// A matrix that is FP8 in FP8 checkpoints.
  void add_projection(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    const std::string weight = name + ".weight";
    add(weight, {out, in}, deviation);
    if (hf_.weight_block_size.empty()) return;
    GeneratedTensor& codes = tensors_.back();
    codes.dtype = HfDtype::F8_E4M3;
    codes.block[0] = hf_.weight_block_size[0];
    codes.block[1] = hf_.weight_block_size[1];
    GeneratedTensor scales = codes;
    scales.name += "_scale_inv";
    scales.dtype = HfDtype::F32;
    scales.kind = ValueKind::block_scales;
    scales.scaled_shape = codes.shape;
    scales.shape = {ceil_div(out, codes.block[0]), ceil_div(in, codes.block[1])};
    tensors_.push_back(std::move(scales));
  }

  void add_embedding(const std::string& name) { add(name, {hf_.vocab_size, hf_.hidden_size}, kEmbeddingDeviation); }

  /// The final norm gives values of about 1, so that logits have the standard deviation kLogitDeviation.
  void add_head(const std::string& name) {
    add(name, {hf_.vocab_size, hf_.hidden_size}, kLogitDeviation / std::sqrt(static_cast<double>(hf_.hidden_size)));
  }

  void add_layer(std::int64_t layer_idx) {
    const std::string prefix = fmt::format("model.layers.{}.", layer_idx);
    add_norm(prefix + "input_layernorm", hf_.hidden_size, 1.0, kBlockNormDeviation);
    add_attention(prefix + "self_attn.");
    add_norm(prefix + "post_attention_layernorm", hf_.hidden_size, 1.0, kBlockNormDeviation);
    if (hf_.is_moe_layer(layer_idx)) {
      add_moe(prefix + "mlp.");
    } else {
      add_gated(prefix + "mlp.", hf_.intermediate_size, kDense);
    }
  }

  void add_attention(const std::string& prefix) {
    const std::int64_t heads = hf_.num_attention_heads;
    const std::int64_t rank = hf_.kv_lora_rank;
    if (hf_.q_lora_rank == 0) {
      add_projection(prefix + "q_proj", heads * hf_.qk_head_dim(), hf_.hidden_size, 0.0187);
    } else {
      add_biased(prefix + "q_a_proj", hf_.q_lora_rank, hf_.hidden_size, 0.0187);
      add_norm(prefix + "q_a_layernorm", hf_.q_lora_rank, 0.444, 0.083);
      add_projection(prefix + "q_b_proj", heads * hf_.qk_head_dim(), hf_.q_lora_rank, 0.0085);
    }
    add_biased(prefix + "kv_a_proj_with_mqa", rank + hf_.qk_rope_head_dim, hf_.hidden_size, 0.0390);
    add_norm(prefix + "kv_a_layernorm", rank, 0.007, 0.0076);
    add_projection(prefix + "kv_b_proj", heads * (hf_.qk_nope_head_dim + hf_.v_head_dim), rank, 0.0049);
    add_biased(prefix + "o_proj", hf_.hidden_size, heads * hf_.v_head_dim, 0.0059);
  }

  /// One of the projections that have a bias when the config says attention_bias.
  void add_biased(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    add_projection(name, out, in, deviation);
    if (hf_.attention_bias) add(name + ".bias", {out}, kBiasDeviation);
  }

  void add_gated(const std::string& prefix, std::int64_t inner, const GatedDeviations& deviations) {
    add_projection(prefix + "gate_proj", inner, hf_.hidden_size, deviations.gate);
    add_projection(prefix + "up_proj", inner, hf_.hidden_size, deviations.up);
    add_projection(prefix + "down_proj", hf_.hidden_size, inner, deviations.down);
  }

  void add_moe(const std::string& prefix) {
    GeneratedTensor& router = add(prefix + "gate.weight", {hf_.n_routed_experts, hf_.hidden_size}, 0.0);
    router.kind = ValueKind::uniform;
    router.deviation = kRouterGain / std::sqrt(3.0 * static_cast<double>(hf_.hidden_size));
    if (hf_.topk_method == "noaux_tc") {
      add(prefix + "gate.e_score_correction_bias", {hf_.n_routed_experts}, kCorrectionDeviation).dtype = HfDtype::F32;
    }
    for (std::int64_t expert_idx = 0; expert_idx < hf_.n_routed_experts; ++expert_idx) {
      const std::string expert = fmt::format("{}experts.{}.", prefix, expert_idx);
      const double size = 1.0 + kExpertSpread * RandomStream(seed_, expert).symmetric(0);
      add_gated(expert, hf_.moe_intermediate_size, {size * kExpert.gate, size * kExpert.up, size * kExpert.down});
    }
    if (hf_.n_shared_experts > 0) add_gated(prefix + "shared_experts.", hf_.n_shared_experts * hf_.moe_intermediate_size, kShared);
  }

  /// A module that predicts further tokens: a layer behind the last one. Embedding and head are copies of the model's, as V3 publishes them.
  void add_mtp(std::int64_t layer_idx) {
    add_layer(layer_idx);
    const std::string prefix = fmt::format("model.layers.{}.", layer_idx);
    add_norm(prefix + "enorm", hf_.hidden_size, 1.0, kBlockNormDeviation);
    add_norm(prefix + "hnorm", hf_.hidden_size, 1.0, kBlockNormDeviation);
    add(prefix + "eh_proj.weight", {hf_.hidden_size, 2 * hf_.hidden_size}, kEhProjDeviation);
    add_norm(prefix + "shared_head.norm", hf_.hidden_size, 1.0, kBlockNormDeviation);
    add_embedding(prefix + "embed_tokens.weight");
    tensors_.back().values_of = "model.embed_tokens.weight";
    if (hf_.tie_word_embeddings) return;
    add_head(prefix + "shared_head.head.weight");
    tensors_.back().values_of = "lm_head.weight";
  }

  const HfConfig& hf_;
  std::uint64_t seed_;
  std::vector<GeneratedTensor> tensors_;
};

}  // namespace

std::vector<GeneratedTensor> generated_tensors(const HfConfig& hf, std::uint64_t seed) { return TensorList(hf, seed).build(); }

}  // namespace meshseek

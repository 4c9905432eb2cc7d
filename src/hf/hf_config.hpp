/// config.json of the DeepSeek family.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"

namespace meshseek {

/// RoPE settings from either spelling (`rope_scaling` + top-level `rope_theta`, or `rope_parameters`). type "default" or "yarn".
struct RopeConfig {
  std::string type = "default";
  double theta = 10000.0;
  double factor = 1.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double mscale = 0.0;          ///< 0: absent
  double mscale_all_dim = 0.0;  ///< 0: absent
  std::int64_t original_max_position_embeddings = 0;
  std::optional<double> attention_factor = {};
  bool interleave = true;  ///< config's rope_interleave
};

/// The fields of config.json that change the mathematics; names are Hugging Face's. Required fields never take class defaults.
struct HfConfig {
  std::string model_type = {};  ///< deepseek_v2, deepseek_v3, kimi_k2
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t moe_intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_nextn_predict_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t n_shared_experts = 0;  ///< 0: none (null)
  std::int64_t n_routed_experts = 0;  ///< 0: dense model (null)
  std::int64_t num_experts_per_tok = 0;
  std::int64_t n_group = 1;
  std::int64_t topk_group = 1;
  std::string topk_method = {};   ///< greedy, group_limited_greedy, noaux_tc
  std::string scoring_func = {};  ///< softmax, sigmoid
  bool norm_topk_prob = false;
  double routed_scaling_factor = 1.0;
  std::int64_t first_k_dense_replace = 0;
  std::int64_t moe_layer_freq = 1;
  std::int64_t q_lora_rank = 0;  ///< 0: plain q_proj (null)
  std::int64_t kv_lora_rank = 0;
  std::int64_t qk_nope_head_dim = 0;
  std::int64_t qk_rope_head_dim = 0;
  std::int64_t v_head_dim = 0;
  double rms_norm_eps = 1e-6;
  RopeConfig rope = {};
  std::int64_t max_position_embeddings = 0;
  bool attention_bias = false;
  bool tie_word_embeddings = false;
  std::int64_t bos_token_id = -1;                    ///< -1: absent
  std::vector<std::int64_t> eos_token_ids = {};      ///< one or several
  std::vector<std::int64_t> weight_block_size = {};  ///< quantization_config of FP8 checkpoints; empty otherwise

  std::int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }
  bool is_moe_layer(std::int64_t layer_idx) const {
    return n_routed_experts > 0 && layer_idx >= first_k_dense_replace && layer_idx % moe_layer_freq == 0;
  }
};

/// Reads `folder/config.json`. \throws Error naming file and field: missing file, not JSON, missing required field, wrong type,
/// out of range, unknown model_type (lists those supported),
/// unsupported value (hidden_act, topk_method, rope type, quant_method, weight_block_size).
HfConfig read_hf_config(const Path& folder);
/// The same from text; `where` names the source in errors.
HfConfig parse_hf_config(std::string_view text, const std::string& where);

/// eos and sampling defaults of generation_config.json; empty fields where the file does not say.
struct GenerationConfig {
  std::optional<double> temperature = {};
  std::optional<double> top_p = {};
  std::optional<std::int64_t> top_k = {};  ///< absent, too, when the file says 0 or -1: no limit
  std::vector<std::int64_t> eos_token_ids = {};
};
/// Reads `folder/generation_config.json`; everything is empty when the file is missing. Fields of other names are ignored.
/// \throws Error naming file and field: not JSON, wrong type, out of range.
GenerationConfig read_generation_config(const Path& folder);

}  // namespace meshseek

#include "hf/published_models.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <string>

#include "base/error.hpp"

namespace meshseek {
namespace {

/// What the config.json files have in common.
constexpr std::string_view kCommon = R"({
  "attention_bias": false, "attention_dropout": 0.0, "aux_loss_alpha": 0.001, "ep_size": 1, "hidden_act": "silu",
  "initializer_range": 0.02, "kv_lora_rank": 512, "moe_layer_freq": 1, "pretraining_tp": 1, "qk_nope_head_dim": 128,
  "qk_rope_head_dim": 64, "seq_aux": true, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "v_head_dim": 128
})";

constexpr std::string_view kV2Lite = R"({
  "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048,
  "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": null, "intermediate_size": 10944,
  "first_k_dense_replace": 1, "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
  "n_group": 1, "topk_group": 1, "topk_method": "greedy", "scoring_func": "softmax", "norm_topk_prob": false,
  "routed_scaling_factor": 1.0, "rms_norm_eps": 1e-06, "max_position_embeddings": 163840, "rope_theta": 10000,
  "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
                   "mscale": 0.707, "mscale_all_dim": 0.707},
  "bos_token_id": 100000, "eos_token_id": 100001
})";

constexpr std::string_view kV2 = R"({
  "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 5120,
  "num_hidden_layers": 60, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536, "intermediate_size": 12288,
  "first_k_dense_replace": 1, "moe_intermediate_size": 1536, "n_routed_experts": 160, "n_shared_experts": 2, "num_experts_per_tok": 6,
  "n_group": 8, "topk_group": 3, "topk_method": "group_limited_greedy", "scoring_func": "softmax", "norm_topk_prob": false,
  "routed_scaling_factor": 16.0, "rms_norm_eps": 1e-06, "max_position_embeddings": 163840, "rope_theta": 10000,
  "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
                   "mscale": 0.707, "mscale_all_dim": 0.707},
  "bos_token_id": 100000, "eos_token_id": 100001
})";

constexpr std::string_view kV3 = R"({
  "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168,
  "num_hidden_layers": 61, "num_nextn_predict_layers": 1, "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
  "intermediate_size": 18432, "first_k_dense_replace": 3, "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
  "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true,
  "routed_scaling_factor": 2.5, "rms_norm_eps": 1e-06, "max_position_embeddings": 163840, "rope_theta": 10000,
  "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
                   "mscale": 1.0, "mscale_all_dim": 1.0},
  "bos_token_id": 0, "eos_token_id": 1
})";

constexpr std::string_view kKimiK2 = R"({
  "architectures": ["DeepseekV3ForCausalLM"], "model_type": "kimi_k2", "vocab_size": 163840, "hidden_size": 7168,
  "num_hidden_layers": 61, "num_nextn_predict_layers": 0, "num_attention_heads": 64, "num_key_value_heads": 64, "q_lora_rank": 1536,
  "intermediate_size": 18432, "first_k_dense_replace": 1, "moe_intermediate_size": 2048, "n_routed_experts": 384, "n_shared_experts": 1,
  "num_experts_per_tok": 8, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true,
  "routed_scaling_factor": 2.827, "rms_norm_eps": 1e-06, "max_position_embeddings": 131072, "rope_theta": 50000.0,
  "rope_scaling": {"type": "yarn", "factor": 32.0, "original_max_position_embeddings": 4096, "beta_fast": 1.0, "beta_slow": 1.0,
                   "mscale": 1.0, "mscale_all_dim": 1.0},
  "bos_token_id": 163584, "eos_token_id": 163585
})";

constexpr std::string_view kMoonlight = R"({
  "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 163840, "hidden_size": 2048,
  "num_hidden_layers": 27, "num_nextn_predict_layers": 0, "num_attention_heads": 16, "num_key_value_heads": 16, "q_lora_rank": null,
  "intermediate_size": 11264, "first_k_dense_replace": 1, "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2,
  "num_experts_per_tok": 6, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": true,
  "routed_scaling_factor": 2.446, "rms_norm_eps": 1e-05, "max_position_embeddings": 8192, "rope_theta": 50000.0, "rope_scaling": null,
  "bos_token_id": 163584, "eos_token_id": 163585
})";

constexpr std::string_view kQuantisation = R"({
  "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]
})";

constexpr std::array<std::string_view, 5> kNames = {"v2-lite", "v2", "v3", "kimi-k2", "moonlight"};
constexpr std::array<std::string_view, 5> kConfigs = {kV2Lite, kV2, kV3, kKimiK2, kMoonlight};

}  // namespace

std::span<const std::string_view> published_model_names() { return kNames; }

Tree published_config(std::string_view name) {
  for (std::size_t model_idx = 0; model_idx < kNames.size(); ++model_idx) {
    if (kNames[model_idx] != name) continue;
    Tree config = parse_json(kConfigs[model_idx], std::string(name));
    const Tree common = parse_json(kCommon, "common fields");
    for (const auto& [key, value] : common.as_object("common fields")) config.set(key, value);
    return config;
  }
  throw Error(fmt::format("\"{}\" is no published model; expected one of {}", name, fmt::join(kNames, ", ")));
}

void keep_first_layers(Tree& config, std::int64_t num_layers) {
  const std::int64_t num_published = config.find("num_hidden_layers")->as_integer("num_hidden_layers");
  if (num_layers < 1 || num_layers > num_published) {
    throw Error(fmt::format("{} layers; expected 1 to {}, the layers of the model", num_layers, num_published));
  }
  config.set("num_hidden_layers", num_layers);
  if (num_layers < num_published && config.find("num_nextn_predict_layers") != nullptr) config.set("num_nextn_predict_layers", 0);
}

void set_fp8(Tree& config) { config.set("quantization_config", parse_json(kQuantisation, "quantization_config")); }

}  // namespace meshseek

#include "hf/hf_config.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/file.hpp"
#include "hf/config_reader.hpp"
#include "hf/rope_config.hpp"

namespace meshseek {
namespace {

constexpr std::string_view kModelTypes[] = {"deepseek_v2", "deepseek_v3", "kimi_k2"};
constexpr std::string_view kTopkMethods[] = {"greedy", "group_limited_greedy", "noaux_tc"};
constexpr std::string_view kScoringFuncs[] = {"softmax", "sigmoid"};
constexpr std::string_view kActivations[] = {"silu"};
constexpr std::string_view kQuantMethods[] = {"fp8"};
constexpr std::string_view kFp8Formats[] = {"e4m3"};
constexpr IntegerRange kBlockSize = {1, 1 << 20};

/// Features that change the mathematics and that no supported model type has.
void refuse_unsupported_features(const ConfigReader& config) {
  config.choice_or("hidden_act", kActivations, "silu");
  if (config.boolean_or("mlp_bias", false)) config.fail("mlp_bias", "is true; only MLPs without bias are supported; use another model");
  for (const std::string_view name : {"index_topk", "index_n_heads"}) {
    if (config.find(name) != nullptr)
      config.fail(name, "is set; sparse attention with an indexer is not supported; use a model without it");
  }
}

void read_sizes(const ConfigReader& config, HfConfig& out) {
  out.vocab_size = config.integer("vocab_size", kDimension);
  out.hidden_size = config.integer("hidden_size", kDimension);
  out.intermediate_size = config.integer("intermediate_size", kDimension);
  out.num_hidden_layers = config.integer("num_hidden_layers", kLayers);
  out.num_nextn_predict_layers = config.integer_or("num_nextn_predict_layers", {0, kLayers.max}, 0);
  out.max_position_embeddings = config.integer("max_position_embeddings", kPositions);
  out.rms_norm_eps = config.positive("rms_norm_eps");
  out.tie_word_embeddings = config.boolean_or("tie_word_embeddings", false);
}

void read_attention(const ConfigReader& config, HfConfig& out) {
  out.num_attention_heads = config.integer("num_attention_heads", kDimension);
  config.require_key("q_lora_rank");
  out.q_lora_rank = config.integer_or("q_lora_rank", kCount, 0);
  out.kv_lora_rank = config.integer("kv_lora_rank", kDimension);
  out.qk_nope_head_dim = config.integer("qk_nope_head_dim", kDimension);
  out.qk_rope_head_dim = config.integer("qk_rope_head_dim", kDimension);
  if (out.qk_rope_head_dim % 2 != 0) {
    config.fail("qk_rope_head_dim", fmt::format("is {}; expected an even number, because RoPE rotates pairs", out.qk_rope_head_dim));
  }
  out.v_head_dim = config.integer("v_head_dim", kDimension);
  out.attention_bias = config.boolean_or("attention_bias", false);
  out.rope = read_rope_config(config);
}

/// The expert groups; required where the method uses them.
void read_groups(const ConfigReader& config, HfConfig& out) {
  if (out.topk_method != "greedy") {
    config.require_key("n_group");
    config.require_key("topk_group");
  }
  out.n_group = config.integer_or("n_group", kDimension, 1);
  out.topk_group = config.integer_or("topk_group", kDimension, 1);
  if (out.n_routed_experts % out.n_group != 0) {
    config.fail("n_group", fmt::format("is {}; expected a divisor of n_routed_experts, which is {}", out.n_group, out.n_routed_experts));
  }
  if (out.topk_group > out.n_group) {
    config.fail("topk_group", fmt::format("is {}; expected at most n_group, which is {}", out.topk_group, out.n_group));
  }
  const std::int64_t selectable = out.topk_method == "greedy" ? out.n_routed_experts : out.n_routed_experts / out.n_group * out.topk_group;
  if (out.num_experts_per_tok > selectable) {
    config.fail(
        "num_experts_per_tok",
        fmt::format("is {}; expected at most {}, the experts that can be selected of n_routed_experts {} in topk_group {} of n_group {}",
                    out.num_experts_per_tok, selectable, out.n_routed_experts, out.topk_group, out.n_group));
  }
}

void read_experts(const ConfigReader& config, HfConfig& out) {
  config.require_key("n_routed_experts");
  out.n_routed_experts = config.integer_or("n_routed_experts", kCount, 0);
  if (out.n_routed_experts == 0) return;
  config.require_key("n_shared_experts");
  out.n_shared_experts = config.integer_or("n_shared_experts", kCount, 0);
  out.moe_intermediate_size = config.integer("moe_intermediate_size", kDimension);
  out.num_experts_per_tok = config.integer("num_experts_per_tok", kDimension);
  out.topk_method = config.choice("topk_method", kTopkMethods);
  out.scoring_func = config.choice("scoring_func", kScoringFuncs);
  out.norm_topk_prob = config.boolean("norm_topk_prob");
  out.routed_scaling_factor = config.positive("routed_scaling_factor");
  out.first_k_dense_replace = config.integer("first_k_dense_replace", kCount);
  out.moe_layer_freq = config.integer_or("moe_layer_freq", kDimension, 1);
  read_groups(config, out);
}

void read_tokens(const ConfigReader& config, HfConfig& out) {
  const IntegerRange ids = {0, out.vocab_size - 1};
  out.bos_token_id = config.integer_or("bos_token_id", ids, -1);
  out.eos_token_ids = config.integers("eos_token_id", ids);
}

void read_quantisation(const ConfigReader& config, HfConfig& out) {
  const Tree* const object = config.find("quantization_config");
  if (object == nullptr) return;
  const ConfigReader quantisation(*object, config.where("quantization_config"));
  quantisation.choice("quant_method", kQuantMethods);
  quantisation.choice_or("fmt", kFp8Formats, "e4m3");
  out.weight_block_size = quantisation.integers("weight_block_size", kBlockSize);
  if (out.weight_block_size.size() != 2) {
    quantisation.fail("weight_block_size", fmt::format("has {} numbers; expected two, e.g. [128, 128]; other FP8 scales are not supported",
                                                       out.weight_block_size.size()));
  }
}

}  // namespace

HfConfig parse_hf_config(std::string_view text, const std::string& where) {
  const Tree tree = parse_config_text(text, where);
  const ConfigReader config(tree, where);
  HfConfig out;
  out.model_type = config.choice("model_type", kModelTypes);
  refuse_unsupported_features(config);
  read_sizes(config, out);
  read_attention(config, out);
  read_experts(config, out);
  read_tokens(config, out);
  read_quantisation(config, out);
  return out;
}

HfConfig read_hf_config(const Path& folder) {
  const Path path = folder / "config.json";
  return parse_hf_config(read_text_file(path, kMaxConfigBytes), path.string());
}

}  // namespace meshseek

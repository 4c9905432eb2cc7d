#include <utility>

#include "hf/state_dict_view.hpp"
#include "modules/mla/mla.hpp"

namespace meshseek {
namespace {

/// Rows [begin, begin + count) of every head of kv_b_proj [heads, per_head, rank] as [heads, count, rank].
Tree convert_head_rows(const HfConfig& hf, const WeightRows& kv_b, std::int64_t begin, std::int64_t count, const WeightOutput& output) {
  const std::int64_t per_head = hf.qk_nope_head_dim + hf.v_head_dim;
  WeightRows rows = {.source = kv_b.source};
  for (std::int64_t head_idx = 0; head_idx < hf.num_attention_heads; ++head_idx) {
    rows.rows.push_back({kv_b.rows.front().tensor, head_idx * per_head + begin, count});
  }
  const Shape shape = {hf.num_attention_heads, count, hf.kv_lora_rank};
  Tree entry;
  entry.set("input_tensor_b", output.write("input_tensor_b", shape, std::move(rows), WeightRole::projection, split_outputs(1)));
  return entry;
}

void convert_queries(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape& mesh,
                     WeightConfig& config) {
  const std::int64_t q_dim = hf.num_attention_heads * hf.qk_head_dim();
  const WeightSplit whole_heads = split_outputs(hf.qk_head_dim());
  if (hf.q_lora_rank == 0) {
    config.set("wq", convert_linear(state_dict, "q_proj", {.out = q_dim, .in = hf.hidden_size, .split = whole_heads}, output.sub("wq")));
    return;
  }
  config.set("wq_a",
             convert_linear(state_dict, "q_a_proj",
                            {.out = hf.q_lora_rank, .in = hf.hidden_size, .split = output.split_product(), .has_bias = hf.attention_bias},
                            output.sub("wq_a")));
  config.set("q_norm", RmsNorm::convert_weights({hf.q_lora_rank}, state_dict.sub("q_a_layernorm"), output.sub("q_norm"), mesh));
  config.set("wq_b",
             convert_linear(state_dict, "q_b_proj", {.out = q_dim, .in = hf.q_lora_rank, .split = whole_heads}, output.sub("wq_b")));
}

}  // namespace

WeightConfig Mla::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape& mesh) {
  const std::int64_t heads = hf.num_attention_heads;
  const std::int64_t rank = hf.kv_lora_rank;
  WeightConfig config;
  convert_queries(hf, state_dict, output, mesh, config);
  config.set("wkv_a",
             convert_linear(
                 state_dict, "kv_a_proj_with_mqa",
                 {.out = rank + hf.qk_rope_head_dim, .in = hf.hidden_size, .split = output.split_product(), .has_bias = hf.attention_bias},
                 output.sub("wkv_a")));
  config.set("kv_norm", RmsNorm::convert_weights({rank}, state_dict.sub("kv_a_layernorm"), output.sub("kv_norm"), mesh));
  const WeightRows kv_b = state_dict.rows("kv_b_proj.weight", {heads * (hf.qk_nope_head_dim + hf.v_head_dim), rank});
  config.set("wkv_b1", convert_head_rows(hf, kv_b, 0, hf.qk_nope_head_dim, output.sub("wkv_b1")));
  config.set("wkv_b2", convert_head_rows(hf, kv_b, hf.qk_nope_head_dim, hf.v_head_dim, output.sub("wkv_b2")));
  config.set(
      "wo",
      convert_linear(
          state_dict, "o_proj",
          {.out = hf.hidden_size, .in = heads * hf.v_head_dim, .split = output.split_product(hf.v_head_dim), .has_bias = hf.attention_bias},
          output.sub("wo")));
  return config;
}

}  // namespace meshseek

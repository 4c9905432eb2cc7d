#include <algorithm>

#include "hf/state_dict_view.hpp"
#include "modules/mla/mla.hpp"

namespace meshseek {
namespace {

/// Rows [begin, begin + count) of every head of kv_b_proj [heads, per_head, rank] as [heads, count, rank].
std::vector<float> head_rows(std::span<const float> kv_b, const HfConfig& hf, std::int64_t begin, std::int64_t count) {
  const std::int64_t rank = hf.kv_lora_rank;
  const std::int64_t per_head = hf.qk_nope_head_dim + hf.v_head_dim;
  std::vector<float> rows(static_cast<std::size_t>(hf.num_attention_heads * count * rank));
  for (std::int64_t head_idx = 0; head_idx < hf.num_attention_heads; ++head_idx) {
    const auto source = kv_b.begin() + (head_idx * per_head + begin) * rank;
    std::copy(source, source + count * rank, rows.begin() + head_idx * count * rank);
  }
  return rows;
}

void convert_queries(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape& mesh,
                     WeightConfig& config) {
  const std::int64_t q_dim = hf.num_attention_heads * hf.qk_head_dim();
  if (hf.q_lora_rank == 0) {
    config.set("wq", convert_linear(state_dict, "q_proj", q_dim, hf.hidden_size, output.sub("wq")));
    return;
  }
  config.set("wq_a", convert_linear(state_dict, "q_a_proj", hf.q_lora_rank, hf.hidden_size, output.sub("wq_a"), WeightRole::projection,
                                    hf.attention_bias));
  config.set("q_norm", RmsNorm::convert_weights({hf.q_lora_rank}, state_dict.sub("q_a_layernorm"), output.sub("q_norm"), mesh));
  config.set("wq_b", convert_linear(state_dict, "q_b_proj", q_dim, hf.q_lora_rank, output.sub("wq_b")));
}

}  // namespace

WeightConfig Mla::convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output, const MeshShape& mesh) {
  const std::int64_t heads = hf.num_attention_heads;
  const std::int64_t rank = hf.kv_lora_rank;
  WeightConfig config;
  convert_queries(hf, state_dict, output, mesh, config);
  config.set("wkv_a", convert_linear(state_dict, "kv_a_proj_with_mqa", rank + hf.qk_rope_head_dim, hf.hidden_size, output.sub("wkv_a"),
                                     WeightRole::projection, hf.attention_bias));
  config.set("kv_norm", RmsNorm::convert_weights({rank}, state_dict.sub("kv_a_layernorm"), output.sub("kv_norm"), mesh));

  const std::vector<float> kv_b = state_dict.load("kv_b_proj.weight", {heads * (hf.qk_nope_head_dim + hf.v_head_dim), rank});
  Tree wkv_b1;
  wkv_b1.set("input_tensor_b", output.sub("wkv_b1").write("input_tensor_b", {heads, hf.qk_nope_head_dim, rank},
                                                          head_rows(kv_b, hf, 0, hf.qk_nope_head_dim), WeightRole::projection));
  config.set("wkv_b1", std::move(wkv_b1));
  Tree wkv_b2;
  wkv_b2.set("input_tensor_b", output.sub("wkv_b2").write("input_tensor_b", {heads, hf.v_head_dim, rank},
                                                          head_rows(kv_b, hf, hf.qk_nope_head_dim, hf.v_head_dim), WeightRole::projection));
  config.set("wkv_b2", std::move(wkv_b2));
  config.set("wo", convert_linear(state_dict, "o_proj", hf.hidden_size, heads * hf.v_head_dim, output.sub("wo"), WeightRole::projection,
                                  hf.attention_bias));
  return config;
}

}  // namespace meshseek

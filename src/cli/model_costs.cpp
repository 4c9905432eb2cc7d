#include "cli/model_costs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <variant>

#include "ops/cpu/tile_panels.hpp"
#include "stage3_run/capture_writer.hpp"

namespace meshseek::cli {
namespace {

/// Rows from which on a linear goes through panels; 0: never.
std::int64_t tile_rows_of(const LinearConfig& linear) {
  if (linear.program_rule) return linear.program_rule->tile_rows;
  return linear.program_config ? std::visit([](const auto& program) { return program.tile_rows; }, *linear.program_config) : 0;
}

/// Of one row with all matrices of a linear.
Products products_of(const LinearConfig& linear) {
  const Tensor& weight = linear.input_tensor_b.tensor;
  const auto count = static_cast<double>(weight.volume());
  const MathFidelity fidelity = linear.compute_kernel_config.math_fidelity;
  const auto form = cpu::panel_form(fidelity, linear.transpose_b, weight.dtype());
  if (form == cpu::PanelForm::int16 && tile_rows_of(linear) > 0) return {.int16 = count};
  if (fidelity == MathFidelity::LoFi && linear.transpose_b && is_block_float(weight.dtype())) return {.int8 = count};
  if (fidelity == MathFidelity::HiFi4) return {.fp32 = count};
  return {.bf16 = count};
}

/// Calls visit(path, bytes, products) for every operator with weights.
template <class Visit>
void for_each_weight(const Model::Config& config, Visit&& visit) {
  for_each_operator_config(config, "model", [&](const auto& op, const std::string& path) {
    double bytes = 0.0;
    for_each_weight_slot(op, path,
                         [&](const WeightSlot& slot, const std::string&) { bytes += static_cast<double>(slot.tensor.bytes().size()); });
    Products products;
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(op)>, LinearConfig>) products = products_of(op);
    if (bytes > 0.0) visit(path, bytes, products);
  });
}

}  // namespace

Products& Products::operator+=(const Products& other) {
  fp32 += other.fp32;
  bf16 += other.bf16;
  int16 += other.int16;
  int8 += other.int8;
  return *this;
}

Products operator*(double count, const Products& products) {
  return {.fp32 = count * products.fp32, .bf16 = count * products.bf16, .int16 = count * products.int16, .int8 = count * products.int8};
}

WeightCosts weight_costs(const Model::Config& config, const HfConfig& hf) {
  WeightCosts costs;
  if (!config.layers.empty())
    costs.attention_is_bf16 = config.layers.front().mla.flash_mla.compute_kernel_config.math_fidelity != MathFidelity::HiFi4;
  const std::string last_layer = fmt::format("model.layers.{}.", hf.num_hidden_layers - 1);
  for_each_weight(config, [&](const std::string& path, double bytes, const Products& products) {
    if (path.starts_with("model.mtp")) return;
    const bool in_last_ffn = path.starts_with(last_layer + "mlp.") || path.starts_with(last_layer + "moe.");
    if (path.starts_with("model.embedding")) {
      costs.embedding_bytes += bytes / static_cast<double>(std::max<std::int64_t>(hf.vocab_size, 1));
    } else if (path.find(".experts.") != std::string::npos) {
      costs.expert_bytes += bytes;
      costs.expert_products += products;
      if (path.ends_with(".experts.w1")) ++costs.moe_layers;
      costs.last_is_moe = costs.last_is_moe || in_last_ffn;
    } else {
      costs.fixed_bytes += bytes;
      (path.starts_with("model.lm_head") ? costs.head_products : in_last_ffn ? costs.last_ffn_products : costs.fixed_products) += products;
    }
  });
  const double num_experts = static_cast<double>(costs.moe_layers * hf.n_routed_experts);
  if (num_experts > 0.0) {
    costs.expert_bytes /= num_experts;
    costs.expert_products = 1.0 / num_experts * costs.expert_products;
  }
  return costs;
}

PassCosts pass_costs(const WeightCosts& weights, const HfConfig& hf, const PassSize& size) {
  const auto tokens = static_cast<double>(size.num_tokens);
  const auto layers = static_cast<double>(hf.num_hidden_layers);
  // Each token sees the cached ones, itself and those before it in the pass.
  const double pairs = tokens * static_cast<double>(size.depth) + tokens * (tokens + 1.0) / 2.0;
  const std::int64_t width = size.absorbed ? 2 * hf.kv_lora_rank + hf.qk_rope_head_dim : hf.qk_head_dim() + hf.v_head_dim;
  const double visits =
      tokens * static_cast<double>(weights.moe_layers - (weights.last_is_moe ? 1 : 0)) + (weights.last_is_moe ? 1.0 : 0.0);
  const double attention = pairs * static_cast<double>(hf.num_attention_heads * width) * layers;
  Products products = weights.attention_is_bf16 ? Products{.bf16 = attention} : Products{.fp32 = attention};
  products += tokens * weights.fixed_products;
  products += weights.last_ffn_products;
  products += weights.head_products;
  products += visits * static_cast<double>(hf.num_experts_per_tok) * weights.expert_products;
  const double cached = (static_cast<double>(size.depth) + tokens) * static_cast<double>(size.cache_row_bytes) * layers;
  const auto batch = static_cast<double>(size.batch);
  return {.bytes = weights.fixed_bytes + size.experts_touched * weights.expert_bytes + batch * (tokens * weights.embedding_bytes + cached),
          .fp32_flop = 2.0 * batch * products.fp32,
          .bf16_flop = 2.0 * batch * products.bf16,
          .int16_flop = 2.0 * batch * products.int16,
          .int8_flop = 2.0 * batch * products.int8};
}

}  // namespace meshseek::cli

/// RoPE frequencies and YaRN factors, in float64. Shared by stage 2 (softmax scale) and stage 3 (tables).
/// Source: DeepSeek-V3 inference/model.py, precompute_freqs_cis; YaRN, arXiv:2309.00071; Hugging Face modeling_rope_utils.py.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "hf/hf_config.hpp"

namespace meshseek {

/// g(s, m) = 0.1 m ln(s) + 1, and 1 when nothing is scaled.
inline double yarn_g(double factor, double m) { return factor <= 1.0 ? 1.0 : 0.1 * m * std::log(factor) + 1.0; }

/// Softmax scale of the attention: qk_head_dim^-0.5, times g(factor, mscale_all_dim)^2 under YaRN when mscale_all_dim is set.
inline double mla_softmax_scale(const HfConfig& hf) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(hf.qk_head_dim()));
  if (hf.rope.type != "yarn" || hf.rope.mscale_all_dim == 0.0) return scale;
  const double g = yarn_g(hf.rope.factor, hf.rope.mscale_all_dim);
  return scale * g * g;
}

/// Factor on cos and sin: attention_factor if given, else g(mscale) / g(mscale_all_dim) if both are set, else g(1).
inline double rope_cos_sin_factor(const RopeConfig& rope) {
  if (rope.type != "yarn") return 1.0;
  if (rope.attention_factor) return *rope.attention_factor;
  if (rope.mscale != 0.0 && rope.mscale_all_dim != 0.0) return yarn_g(rope.factor, rope.mscale) / yarn_g(rope.factor, rope.mscale_all_dim);
  return yarn_g(rope.factor, 1.0);
}

/// Inverse frequencies [dim / 2]. Under YaRN they apply to every position, short prompts included, as the models were trained.
inline std::vector<double> rope_inv_freq(const RopeConfig& rope, std::int64_t dim) {
  std::vector<double> inv_freq(static_cast<std::size_t>(dim / 2));
  for (std::int64_t pair_idx = 0; pair_idx < dim / 2; ++pair_idx) {
    inv_freq[static_cast<std::size_t>(pair_idx)] = std::pow(rope.theta, -2.0 * static_cast<double>(pair_idx) / static_cast<double>(dim));
  }
  if (rope.type != "yarn") return inv_freq;
  const auto correction_dim = [&](double rotations) {
    const double wavelengths = static_cast<double>(rope.original_max_position_embeddings) / (2.0 * std::numbers::pi * rotations);
    return static_cast<double>(dim) * std::log(wavelengths) / (2.0 * std::log(rope.theta));
  };
  const double low = std::max(std::floor(correction_dim(rope.beta_fast)), 0.0);
  double high = std::min(std::ceil(correction_dim(rope.beta_slow)), static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  for (std::size_t pair_idx = 0; pair_idx < inv_freq.size(); ++pair_idx) {
    const double ramp = std::clamp((static_cast<double>(pair_idx) - low) / (high - low), 0.0, 1.0);
    inv_freq[pair_idx] = inv_freq[pair_idx] / rope.factor * ramp + inv_freq[pair_idx] * (1.0 - ramp);
  }
  return inv_freq;
}

}  // namespace meshseek

/// Rotary embedding and YaRN frequencies in float64.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace meshseek::reference {

struct YarnSettings {
  double theta = 10000.0;
  std::int64_t rotary_dim = 64;
  double factor = 1.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double original_max_position_embeddings = 4096.0;
};

/// theta^(-2i / dim)
std::vector<double> plain_inv_freq(double theta, std::int64_t rotary_dim);
/// Fast dimensions keep their frequency, slow ones have it divided by `factor`, with a linear ramp between. Source: arXiv:2309.00071.
std::vector<double> yarn_inv_freq(const YarnSettings& settings);
/// 0.1 m ln(factor) + 1
double yarn_mscale(double factor, double m);

/// Rotates x [T, heads, 2 * inv_freq.size()]; pairs are (2i, 2i+1) when interleaved, else (i, i + half); results stay in their places.
std::vector<double> rotate(std::span<const float> x, std::int64_t heads, std::span<const std::int64_t> positions,
                           std::span<const double> inv_freq, double cos_sin_factor, bool interleaved);

}  // namespace meshseek::reference

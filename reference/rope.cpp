#include "reference/rope.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace meshseek::reference {

std::vector<double> plain_inv_freq(double theta, std::int64_t rotary_dim) {
  std::vector<double> result;
  for (std::int64_t idx = 0; idx < rotary_dim; idx += 2)
    result.push_back(std::pow(theta, -static_cast<double>(idx) / static_cast<double>(rotary_dim)));
  return result;
}

std::vector<double> yarn_inv_freq(const YarnSettings& s) {
  const auto dim = static_cast<double>(s.rotary_dim);
  const auto dimension_of = [&](double turns) {
    return dim * std::log(s.original_max_position_embeddings / (2.0 * std::numbers::pi * turns)) / (2.0 * std::log(s.theta));
  };
  const double low = std::max(std::floor(dimension_of(s.beta_fast)), 0.0);
  double high = std::min(std::ceil(dimension_of(s.beta_slow)), dim - 1.0);
  if (low == high) high += 0.001;
  std::vector<double> result = plain_inv_freq(s.theta, s.rotary_dim);
  for (std::size_t idx = 0; idx < result.size(); ++idx) {
    const double slow = std::clamp((static_cast<double>(idx) - low) / (high - low), 0.0, 1.0);
    result[idx] = result[idx] / s.factor * slow + result[idx] * (1.0 - slow);
  }
  return result;
}

double yarn_mscale(double factor, double m) { return factor <= 1.0 ? 1.0 : 0.1 * m * std::log(factor) + 1.0; }

std::vector<double> rotate(std::span<const float> x, std::int64_t heads, std::span<const std::int64_t> positions,
                           std::span<const double> inv_freq, double cos_sin_factor, bool interleaved) {
  const std::size_t half = inv_freq.size();
  std::vector<double> result(x.begin(), x.end());
  for (std::size_t row = 0; row < positions.size() * static_cast<std::size_t>(heads); ++row) {
    const auto position = static_cast<double>(positions[row / static_cast<std::size_t>(heads)]);
    for (std::size_t pair = 0; pair < half; ++pair) {
      const std::size_t first = row * 2 * half + (interleaved ? 2 * pair : pair);
      const std::size_t second = row * 2 * half + (interleaved ? 2 * pair + 1 : pair + half);
      const double cos = std::cos(position * inv_freq[pair]) * cos_sin_factor;
      const double sin = std::sin(position * inv_freq[pair]) * cos_sin_factor;
      result[first] = double{x[first]} * cos - double{x[second]} * sin;
      result[second] = double{x[first]} * sin + double{x[second]} * cos;
    }
  }
  return result;
}

}  // namespace meshseek::reference

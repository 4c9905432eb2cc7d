#include "ops/cpu/attention.hpp"

#include <algorithm>
#include <cmath>

#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {

void attend(const float* q, const KeysAndValues& kv, std::int64_t num_visible, double scale, std::vector<float>& scores, float* out) {
  scores.resize(static_cast<std::size_t>(num_visible));
  kernels().dot_rows(q, kv.keys, kv.key_stride, kv.key_stride, num_visible, scores.data());
  const auto factor = static_cast<float>(scale);
  for (float& score : scores) score *= factor;
  const float top = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (float& score : scores) {
    score = std::exp(score - top);
    sum += static_cast<double>(score);
  }
  const auto inverse = static_cast<float>(1.0 / sum);
  std::fill_n(out, kv.value_dim, 0.0F);
  for (std::int64_t token = 0; token < num_visible; ++token) {
    kernels().axpy(scores[static_cast<std::size_t>(token)] * inverse, kv.values + token * kv.value_stride, kv.value_dim, out);
  }
}

}  // namespace meshseek::cpu

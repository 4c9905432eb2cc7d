#include "ops/cpu/attention.hpp"

#include <algorithm>

#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {
namespace {

/// Scores become probabilities, in place.
void softmax_row(float* scores, std::int64_t count, float factor) {
  constexpr std::int64_t kSummed = 256;  // in float32
  const float top = *std::max_element(scores, scores + count) * factor;
  double sum = 0.0;
  for (std::int64_t idx = 0; idx < count; idx += kSummed)
    sum += static_cast<double>(kernels().exp_row(scores + idx, std::min(kSummed, count - idx), factor, top));
  const auto inverse = static_cast<float>(1.0 / sum);
  for (std::int64_t idx = 0; idx < count; ++idx) scores[idx] *= inverse;
}

}  // namespace

Queries::Queries(std::int64_t query_stride, std::int64_t result_stride)
    : key_stride(query_stride),
      value_stride(result_stride),
      queries(static_cast<std::size_t>(kMax * query_stride)),
      results(static_cast<std::size_t>(kMax * result_stride)) {}

void attend(Queries& q, const KeysAndValues& kv, double scale) {
  const std::int64_t longest = *std::max_element(q.visible, q.visible + q.count);
  const std::int64_t shared = *std::min_element(q.visible, q.visible + q.count);
  q.scores.resize(static_cast<std::size_t>(Queries::kMax * longest));
  float* scores = q.scores.data();
  kernels().dot_block({.x = q.queries.data(),
                       .x_stride = q.key_stride,
                       .num_x = q.count,
                       .w = kv.keys,
                       .w_stride = kv.key_stride,
                       .num_w = longest,
                       .k = kv.key_stride,
                       .out = scores,
                       .out_stride = longest});
  for (std::int64_t idx = 0; idx < q.count; ++idx) softmax_row(scores + idx * longest, q.visible[idx], static_cast<float>(scale));
  kernels().weighted_sum({.weights = scores,
                          .weights_stride = longest,
                          .num_x = q.count,
                          .rows = kv.values,
                          .row_stride = kv.value_stride,
                          .num_rows = shared,
                          .cols = q.value_stride,
                          .out = q.results.data(),
                          .out_stride = q.value_stride});
  for (std::int64_t idx = 0; idx < q.count; ++idx) {
    for (std::int64_t token = shared; token < q.visible[idx]; ++token) {
      kernels().axpy(scores[idx * longest + token], kv.values + token * kv.value_stride, q.value_stride,
                     q.results.data() + idx * q.value_stride);
    }
  }
}

}  // namespace meshseek::cpu

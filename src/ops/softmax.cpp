#include "ops/softmax.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace meshseek {

std::vector<double> log_softmax(std::span<const float> logits) {
  if (logits.empty()) return {};
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  const double shift = top + std::log(sum);
  std::vector<double> result(logits.size());
  std::transform(logits.begin(), logits.end(), result.begin(), [shift](float logit) { return static_cast<double>(logit) - shift; });
  return result;
}

std::vector<float> softmax(std::span<const float> logits) {
  const std::vector<double> logs = log_softmax(logits);
  std::vector<float> result(logs.size());
  std::transform(logs.begin(), logs.end(), result.begin(), [](double log) { return static_cast<float>(std::exp(log)); });
  return result;
}

std::int64_t argmax(std::span<const float> logits) {
  std::int64_t best = -1;
  for (std::size_t idx = 0; idx < logits.size(); ++idx) {
    if (std::isnan(logits[idx])) continue;
    if (best < 0 || logits[idx] > logits[static_cast<std::size_t>(best)]) best = static_cast<std::int64_t>(idx);
  }
  if (best < 0) throw Error("[argmax] there is no largest value: the logits are empty or all NaN");
  return best;
}

}  // namespace meshseek

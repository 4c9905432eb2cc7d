#include "reference/norm.hpp"

#include <algorithm>
#include <cmath>

namespace meshseek::reference {

std::vector<double> softmax(std::span<const double> scores) {
  std::vector<double> result(scores.begin(), scores.end());
  const double top = *std::max_element(result.begin(), result.end());
  double sum = 0.0;
  for (double& score : result) sum += score = std::exp(score - top);
  for (double& score : result) score /= sum;
  return result;
}

std::vector<double> rms_norm(std::span<const float> x, std::span<const float> weight, double epsilon) {
  double squares = 0.0;
  for (const float value : x) squares += double{value} * double{value};
  const double root = std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  std::vector<double> result;
  for (std::size_t idx = 0; idx < x.size(); ++idx) result.push_back(double{x[idx]} / root * double{weight[idx]});
  return result;
}

double silu(double x) { return x / (1.0 + std::exp(-x)); }

}  // namespace meshseek::reference

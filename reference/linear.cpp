#include "reference/linear.hpp"

#include <algorithm>
#include <cmath>

namespace meshseek::reference {

LinearResult linear(std::span<const float> x, std::span<const float> w, const LinearShape& shape) {
  LinearResult result;
  for (std::int64_t token = 0; token < shape.num_tokens; ++token) {
    for (std::int64_t row = 0; row < shape.out; ++row) {
      double sum = 0.0;
      double magnitude = 0.0;
      for (std::int64_t col = 0; col < shape.in; ++col) {
        const double product =
            double{x[static_cast<std::size_t>(token * shape.in + col)]} * double{w[static_cast<std::size_t>(row * shape.in + col)]};
        sum += product;
        magnitude += std::abs(product);
      }
      result.y.push_back(sum);
      result.magnitude.push_back(magnitude);
    }
  }
  return result;
}

std::vector<float> transpose(std::span<const float> values, std::int64_t rows, std::int64_t cols) {
  std::vector<float> result;
  for (std::int64_t col = 0; col < cols; ++col) {
    for (std::int64_t row = 0; row < rows; ++row) result.push_back(values[static_cast<std::size_t>(row * cols + col)]);
  }
  return result;
}

std::vector<float> int8_rounded(std::span<const float> x, std::int64_t in, std::vector<double>* steps) {
  std::vector<float> result(x.begin(), x.end());
  for (std::size_t begin = 0; begin < x.size();) {
    const std::size_t left_in_row = static_cast<std::size_t>(in) - begin % static_cast<std::size_t>(in);
    const std::span<float> block = std::span(result).subspan(begin, std::min<std::size_t>(16, left_in_row));
    float amax = 0.0F;
    for (const float value : block) amax = std::max(amax, std::abs(value));
    const float step = amax / 127.0F;
    for (float& value : block) value = step == 0.0F ? 0.0F : std::nearbyint(value / step) * step;
    if (steps != nullptr) steps->insert(steps->end(), block.size(), double{step});
    begin += block.size();
  }
  return result;
}

}  // namespace meshseek::reference

/// Functions of one value.
#pragma once
#include <cmath>
#include <span>

#include "ops/common_config.hpp"

namespace meshseek {

/// values[i] = op(values[i]); SILU(x) = x / (1 + e^-x), SIGMOID(x) = 1 / (1 + e^-x).
inline void apply_unary(UnaryOpType op, std::span<float> values) {
  for (float& value : values) {
    const float sigmoid = 1.0F / (1.0F + std::exp(-value));
    value = op == UnaryOpType::SILU ? value * sigmoid : sigmoid;
  }
}

}  // namespace meshseek

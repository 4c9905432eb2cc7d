/// Functions of one value.
#pragma once
#include <span>

#include "ops/common_config.hpp"
#include "ops/cpu/kernels.hpp"

namespace meshseek {

/// values[i] = op(values[i]); SILU(x) = x / (1 + e^-x), SIGMOID(x) = 1 / (1 + e^-x).
inline void apply_unary(UnaryOpType op, std::span<float> values) {
  const auto apply = op == UnaryOpType::SILU ? cpu::kernels().silu : cpu::kernels().sigmoid;
  apply(values.data(), static_cast<std::int64_t>(values.size()));
}

}  // namespace meshseek

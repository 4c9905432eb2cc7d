/// Elementwise operators on tensors of equal shape.
#pragma once
#include "ops/binary_config.hpp"

namespace meshseek {

/// act(a) * b. With SILU this is SwiGLU's product. Computed in float32. \throws ShapeError naming both shapes. Source: ttnn.mul.
Tensor mul(const Tensor& a, const Tensor& b, const MulConfig& cfg);

/// a + b, computed in float32. \throws ShapeError naming both shapes. Source: ttnn.add.
Tensor binary(const Tensor& a, const Tensor& b, const BinaryConfig& cfg);

}  // namespace meshseek

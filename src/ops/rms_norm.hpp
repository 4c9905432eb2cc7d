/// Root-mean-square normalisation.
#pragma once
#include "ops/rms_norm_config.hpp"

namespace meshseek {

/// y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension; weight stays float32 and the product is rounded once (DeepSeek's order).
/// \param x [.., dim] float32 or bfloat16; weight [dim] bfloat16 or float32  \return same shape, cfg.dtype. Source: ttnn.rms_norm; arXiv:1910.07467.
Tensor rms_norm(const Tensor& x, const RmsNormConfig& cfg);

}  // namespace meshseek

/// Root-mean-square normalisation.
#pragma once
#include <cstdint>

#include "ops/rms_norm_config.hpp"

namespace meshseek {

/// y = x / sqrt(mean(x^2) + epsilon) * weight over the last dimension; weight stays float32 and the product is rounded once (DeepSeek's order).
/// \param x [.., dim] float32 or bfloat16; weight [dim] bfloat16 or float32  \return same shape, cfg.dtype; with cfg.quantise also its int8_rows().
/// Source: ttnn.rms_norm; arXiv:1910.07467.
Tensor rms_norm(const Tensor& x, const RmsNormConfig& cfg);

/// The same for x in pieces on several devices: each sums the squares of its own, and normalises its own when it has the sums of all.
/// Source: ttnn.rms_norm_pre_all_gather, ttnn.rms_norm_post_all_gather.
/// \param x [.., piece]  \return [T, 1] float32, T = volume(x) / piece
Tensor rms_norm_pre_all_gather(const Tensor& x);
/// \param squares [T, pieces]
/// \param first_column of the piece among the dim values of the weight: what lies beyond them is padding, and becomes zero
/// \return as x, cfg.dtype; cfg.quantise has no part in it, because a product takes whole rows
Tensor rms_norm_post_all_gather(const Tensor& x, const Tensor& squares, std::int64_t first_column, const RmsNormConfig& cfg);

}  // namespace meshseek

/// Matrix products with stored weights.
#pragma once
#include <cstdint>
#include <span>

#include "ops/binary_config.hpp"
#include "ops/linear_config.hpp"

namespace meshseek {

/// y = x W^T (+ bias), one weight matrix or one per head.
///
/// \param x    [T, in] with weight [out, in]; or [T, heads, in] with weight [heads, out, in]; or [T, 1, in] with weight [heads, out, in]
///             (every head multiplies the same vector). float32 or bfloat16, row-major.
/// \param cfg  a run config: `cfg.input_tensor_b.tensor` is loaded: float32, bfloat16, bfloat8_b or bfloat4_b, TILE or ROW_MAJOR. With transpose_b false
///             the weight is [.., in, out].
/// \return     [T, out] or [T, heads, out]
/// \throws ShapeError naming both shapes; ConfigError for LoFi with a weight that is not block float.
///
/// HiFi4: float32 products of the exact decoded weight. HiFi2: x and W rounded to bf16 first. LoFi: x as int8 with one float32 scale per 16 values
/// of k, times the signed magnitudes of the block, int32 per block (transpose_b only; with transpose_b false LoFi computes as HiFi2's weights
/// with int8-rounded activations). Sums in float32 in an order that depends on neither threads nor T.
/// Work: 2 T heads in out FLOP; decodes W once per call. Source: ttnn.linear.
Tensor linear(const Tensor& x, const LinearConfig& cfg);

/// One weight matrix per expert, applied to rows that are grouped by expert.
/// \param x        [R, in]: rows of expert e are [offsets[e], offsets[e + 1])
/// \param offsets  experts + 1 ascending values, the last is R
/// \param cfg      weight [experts, out, in]
/// \return         [R, out]; experts without rows are not read
Tensor grouped_linear(const Tensor& x, std::span<const std::int64_t> offsets, const LinearConfig& cfg);

/// mul(linear(x, gate), linear(x, up)) with the same bits, in one pass: x is prepared once, and neither product goes to memory. Where the configs cut the
/// two products up differently, or someone records the values of operators, these three run one by one.
/// \param x [T, in]; weights [out, in]  \return [T, out]
Tensor gated_linear(const Tensor& x, const LinearConfig& gate, const LinearConfig& up, const MulConfig& mul_cfg);
/// The same of grouped_linear(): weights [experts, out, in].
Tensor grouped_gated_linear(const Tensor& x, std::span<const std::int64_t> offsets, const LinearConfig& gate, const LinearConfig& up,
                            const MulConfig& mul_cfg);

}  // namespace meshseek

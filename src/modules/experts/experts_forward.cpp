#include "modules/experts/experts.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Tensor Experts::forward(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg) const {
  const Tensor inner = grouped_gated_linear(rows, offsets, cfg.w1, cfg.w3, cfg.mul);  // [R, inner]
  return grouped_linear(inner, offsets, cfg.w2);                                      // [R, hidden_size]
}

}  // namespace meshseek

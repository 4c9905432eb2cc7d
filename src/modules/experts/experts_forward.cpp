#include "modules/experts/experts.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Tensor Experts::forward(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg) const {
  return grouped_linear(inner(rows, offsets, cfg), offsets, cfg.w2);  // [R, hidden_size]
}

Tensor Experts::inner(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg) const {
  return grouped_gated_linear(rows, offsets, cfg.w1, cfg.w3, cfg.mul);  // [R, inner]
}

}  // namespace meshseek

#include "modules/mlp/mlp.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Tensor Mlp::inner(const Tensor& x, const Config& cfg) const {
  return gated_linear(x, cfg.w1, cfg.w3, cfg.mul);  // [T, inner]
}

Tensor Mlp::forward(const Tensor& x, const Config& cfg) const {
  return linear(inner(x, cfg), cfg.w2);  // [T, hidden_size]
}

}  // namespace meshseek

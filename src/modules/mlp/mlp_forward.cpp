#include "modules/mlp/mlp.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Tensor Mlp::forward(const Tensor& x, const Config& cfg) const {
  const Tensor inner = gated_linear(x, cfg.w1, cfg.w3, cfg.mul);  // [T, inner]
  return linear(inner, cfg.w2);                                   // [T, hidden_size]
}

}  // namespace meshseek

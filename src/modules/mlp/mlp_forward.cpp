#include "modules/mlp/mlp.hpp"
#include "ops/binary.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Tensor Mlp::inner(const Tensor& x, const Config& cfg) const {
  Tensor gate = linear(x, cfg.w1);        // [T, inner]
  Tensor up = linear(x, cfg.w3);          // [T, inner]
  Tensor inner = mul(gate, up, cfg.mul);  // [T, inner]
  gate.deallocate();
  up.deallocate();
  return inner;
}

Tensor Mlp::forward(const Tensor& x, const Config& cfg) const {
  return linear(inner(x, cfg), cfg.w2);  // [T, hidden_size]
}

}  // namespace meshseek

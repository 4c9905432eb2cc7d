#include "modules/moe_gate/moe_gate.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Routing MoeGate::forward(const Tensor& x, const Config& cfg) const {
  const Tensor logits = linear(x, cfg.linear);  // [T, n_routed_experts] float32
  return router(logits, cfg.router);
}

}  // namespace meshseek

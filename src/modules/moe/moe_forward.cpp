#include <utility>

#include "modules/moe/moe.hpp"
#include "ops/binary.hpp"

namespace meshseek {

Moe::Moe(const HfConfig& hf, const MeshDevice& mesh)
    : num_experts_(hf.n_routed_experts), gate_(hf, mesh), experts_(hf, mesh), shared_expert_(hf, mesh) {}

Moe::Output Moe::forward(const Tensor& x, const Config& cfg) const {
  Routing routing = gate_.forward(x, cfg.gate);
  Dispatched dispatched = moe_dispatch(x, routing, num_experts_, cfg.dispatch);      // rows [T * k, hidden_size]
  Tensor rows = experts_.forward(dispatched.rows, dispatched.offsets, cfg.experts);  // [T * k, hidden_size]
  dispatched.rows.deallocate();
  Tensor routed = moe_combine(rows, dispatched, routing, cfg.combine);  // [T, hidden_size]
  rows.deallocate();
  if (!cfg.shared_expert) return {std::move(routed), std::move(routing)};
  const Tensor shared = shared_expert_.forward(x, *cfg.shared_expert);  // [T, hidden_size]
  return {binary(routed, shared, *cfg.add_shared), std::move(routing)};
}

}  // namespace meshseek

#include <utility>

#include "modules/moe_1d/moe_1d.hpp"
#include "ops/binary.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Moe1d::Moe1d(const HfConfig& hf, const MeshDevice& mesh)
    : num_experts_(hf.n_routed_experts), columns_(hf, mesh), gate_(hf, mesh), experts_(hf, mesh), shared_expert_(hf, mesh) {}

Moe::Output Moe1d::forward(const Tensor& x, const Moe::Config& moe, const Config& cfg) const {
  const Tensor tokens = columns_.whole(x, cfg.all_gather);  // [T, hidden_size]
  Routing routing = gate_.forward(tokens, moe.gate);
  Dispatched dispatched = moe_dispatch(tokens, routing, num_experts_, moe.dispatch);      // rows [T * k, hidden_size]
  const Tensor inner = experts_.inner(dispatched.rows, dispatched.offsets, moe.experts);  // [T * k, inner of this column]
  dispatched.rows.deallocate();
  const Tensor inputs = columns_.inputs(inner, moe.experts.w2, cfg.gather_inner);  // [T * k, inner of w2]
  Tensor rows = grouped_linear(inputs, dispatched.offsets, moe.experts.w2);        // [T * k, hidden_size], deterministic [T * k, piece]
  Tensor y = moe_combine(rows, dispatched, routing, moe.combine);                  // [T, hidden_size], deterministic [T, piece]
  rows.deallocate();
  if (moe.shared_expert) {
    const LinearConfig& w2 = moe.shared_expert->w2;
    const Tensor shared_inner = shared_expert_.inner(tokens, *moe.shared_expert);           // [T, inner of this column]
    const Tensor shared = linear(columns_.inputs(shared_inner, w2, cfg.gather_inner), w2);  // as y
    y = binary(y, shared, *moe.add_shared);
  }
  return {cfg.reduce_scatter ? columns_.sum(y, *cfg.reduce_scatter) : std::move(y), std::move(routing)};
}

}  // namespace meshseek

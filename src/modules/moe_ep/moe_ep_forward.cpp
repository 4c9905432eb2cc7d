#include <fmt/format.h>

#include <utility>

#include "base/error.hpp"
#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "mesh/shards.hpp"
#include "modules/moe_ep/moe_ep.hpp"
#include "ops/binary.hpp"

namespace meshseek {

MoeEp::MoeEp(const HfConfig& hf, const MeshDevice& mesh)
    : mesh_(mesh.shape),
      num_experts_(hf.n_routed_experts),
      per_device_(experts_per_device(hf.n_routed_experts, mesh.shape)),
      columns_(hf, mesh),
      gate_(hf, mesh),
      experts_(hf, mesh),
      shared_expert_(hf, mesh),
      exchange_(hf, mesh) {}

/// Groups of rows on the column: those of its first row's experts, then those of its second's. -1: another column's.
std::vector<std::int64_t> MoeEp::places(const Config& cfg, std::int64_t col) const {
  if (static_cast<std::int64_t>(cfg.expert_map.size()) != num_experts_) {
    throw ConfigError(
        fmt::format("[moe_ep] expert_map has {} entries; expected one for each of {} experts", cfg.expert_map.size(), num_experts_));
  }
  std::vector<std::int64_t> places;
  for (std::int64_t expert_idx = 0; expert_idx < num_experts_; ++expert_idx) {
    const std::int64_t rank = cfg.expert_map[static_cast<std::size_t>(expert_idx)];
    if (rank != expert_idx / per_device_) {
      throw ConfigError(
          fmt::format("[moe_ep] expert_map puts expert {} on device {}, but the store has it on device {}; leave expert_map as configured",
                      expert_idx, rank, expert_idx / per_device_));
    }
    places.push_back(rank % mesh_.cols == col ? rank / mesh_.cols * per_device_ + expert_idx % per_device_ : -1);
  }
  return places;
}

/// Results of this column's experts become sums of all experts' results, this column's piece. \param rows [R, hidden_size]  \return [T, piece]
Tensor MoeEp::in_order(const Tensor& rows, const Routing& routing, const Moe::Config& moe, const Config& cfg) const {
  Dispatched everywhere;
  for (std::int64_t col = 0; col < mesh_.cols; ++col) {
    const auto slots = group_slots(routing, places(cfg, col), per_device_ * mesh_.rows).slots;
    everywhere.slots.insert(everywhere.slots.end(), slots.begin(), slots.end());
  }
  const Tensor pieces = columns_.rows_of_columns(rows, *cfg.pieces_of_rows);  // [T * k, piece]
  return moe_combine(pieces, everywhere, routing, moe.combine);               // [T, piece]
}

Moe::Output MoeEp::forward(const Tensor& x, const Moe::Config& moe, const Config& cfg) const {
  const Tensor tokens = columns_.whole(x, cfg.columns.all_gather);  // [T, hidden_size]
  Routing routing = gate_.forward(tokens, moe.gate);
  const std::vector<std::int64_t> places = this->places(cfg, x.device()->communicator().col());
  Dispatched dispatched = moe_dispatch_some(tokens, routing, places, per_device_ * mesh_.rows, moe.dispatch);  // rows [R, hidden_size]
  const auto run_experts = [&](const Tensor& of_experts, std::span<const std::int64_t> offsets) {
    return experts_.forward(of_experts, offsets, moe.experts);  // [.., hidden_size]
  };
  Tensor rows = exchange_.forward(dispatched.rows, dispatched.offsets, cfg.exchange, run_experts);  // [R, hidden_size]
  dispatched.rows.deallocate();
  if (cfg.pieces_of_rows) {
    Tensor y = in_order(rows, routing, moe, cfg);  // [T, piece]
    if (!moe.shared_expert) return {std::move(y), std::move(routing)};
    const Tensor inner = shared_expert_.inner(tokens, *moe.shared_expert);  // [T, inner of this column]
    const Tensor shared =
        columns_.product_piece(inner, moe.shared_expert->w2, cfg.columns.reduce_scatter, cfg.columns.gather_inner);  // [T, piece]
    return {binary(y, shared, *moe.add_shared), std::move(routing)};
  }
  Tensor term = moe_combine(rows, dispatched, routing, moe.combine);  // [T, hidden_size]
  rows.deallocate();
  if (moe.shared_expert) term = binary(term, shared_expert_.forward(tokens, *moe.shared_expert), *moe.add_shared);
  return {columns_.sum(term, *cfg.columns.reduce_scatter), std::move(routing)};
}

}  // namespace meshseek

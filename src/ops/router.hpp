/// Mixture of experts: choice, grouping by expert, weighted sum.
#pragma once
#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "ops/router_config.hpp"

namespace meshseek {

/// The experts of each token.
struct Routing {
  Tensor indices = {};  ///< [T, k] int32, ordered by selection score, ties by lower index
  Tensor weights = {};  ///< [T, k] float32
};

/// Chooses experts from logits [T, E] (float32), all arithmetic in float32. Exact rules (which differ between V2 and V3): docs of the .cpp and
/// DeepSeek-V2/V3 modelling code; weights always come from the scores without bias.
Routing router(const Tensor& logits, const RouterConfig& cfg);

/// Rows of x repeated for each chosen expert and grouped by expert.
struct Dispatched {
  Tensor rows = {};                             ///< [T * k, hidden], fewer when experts are left out
  std::pmr::vector<std::int64_t> offsets = {};  ///< experts + 1: rows of expert e are [offsets[e], offsets[e + 1])
  std::pmr::vector<std::int64_t> slots = {};    ///< row -> token * k + j
};
Dispatched moe_dispatch(const Tensor& x, const Routing& routing, std::int64_t num_experts, const MoeDispatchConfig& cfg);

/// The same for some of the experts: rows of expert e are group places[e] of num_groups; where that is -1 the expert is left out, and so are its
/// rows.
Dispatched moe_dispatch_some(const Tensor& x, const Routing& routing, std::span<const std::int64_t> places, std::int64_t num_groups,
                             const MoeDispatchConfig& cfg);

/// What moe_dispatch_some() would dispatch, without the rows: offsets and slots.
Dispatched group_slots(const Routing& routing, std::span<const std::int64_t> places, std::int64_t num_groups);

/// y[token] = sum over j of weights[token, j] * rows[row of (token, j)], float32 sums in the order of j, of those that were dispatched.
/// \param rows [at most T * k, hidden] in the order of `dispatched`  \return [T, hidden]
Tensor moe_combine(const Tensor& rows, const Dispatched& dispatched, const Routing& routing, const MoeCombineConfig& cfg);

}  // namespace meshseek

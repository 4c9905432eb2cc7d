/// Attention of each head over its own keys and values, which are expanded from the latent.
#pragma once
#include <cstdint>

#include "mesh/device.hpp"
#include "ops/cpu/rows.hpp"

namespace meshseek::cpu {

/// T queries, the last of S tokens, for each of n heads.
struct HeadsProblem {
  const Tensor* q = nullptr;       ///< [T, n, dn + dr]
  const Tensor* k_nope = nullptr;  ///< [S, n, dn]
  const Tensor* v = nullptr;       ///< [S, n, dv]
  const Tensor* cache = nullptr;   ///< [capacity, rank + dr]: the rotated keys that all heads share
  std::int64_t num_tokens = 0;     ///< S
  std::int64_t rank = 0;
  float scale = 1.0F;
  bool on_tiles = false;  ///< cpu/tile_attention.hpp
};

/// softmax(scale q k^T) v, causal; row t * n + h of `writer` is query t of head h. Neither threads nor other queries change a bit.
void attend_heads(const HeadsProblem& problem, const RowWriter& writer, Device& device);

}  // namespace meshseek::cpu

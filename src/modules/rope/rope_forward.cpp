#include <utility>

#include "modules/rope/rope.hpp"
#include "modules/rope/yarn.hpp"

namespace meshseek {

Rope::Rope(const HfConfig& hf, const MeshDevice&)
    : inv_freq_(rope_inv_freq(hf.rope, hf.qk_rope_head_dim)), cos_sin_factor_(rope_cos_sin_factor(hf.rope)) {}

RopeTables Rope::tables(std::span<const std::int64_t> positions, std::pmr::memory_resource& memory) const {
  return make_rope_tables(positions, inv_freq_, cos_sin_factor_, memory);
}

Tensor Rope::forward(Tensor x, const RopeTables& tables, const Config& cfg) const {
  return rotary_embedding(std::move(x), tables, cfg);  // [T, heads, dim]
}

}  // namespace meshseek

/// Rotary position embedding.
#pragma once
#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "ops/rotary_embedding_config.hpp"

namespace meshseek {

/// cos and sin of position * inv_freq, times the YaRN factor on both. Angles are computed in float64 (float32 angles are wrong by 2e-3 at 131071).
struct RopeTables {
  std::int64_t rotary_dim = 0;
  std::pmr::vector<float> cos = {};  ///< [T, rotary_dim / 2]
  std::pmr::vector<float> sin = {};  ///< [T, rotary_dim / 2]
};

RopeTables make_rope_tables(std::span<const std::int64_t> positions, std::span<const double> inv_freq, double cos_sin_factor,
                            std::pmr::memory_resource& memory = *std::pmr::get_default_resource());

/// Rotates the last `tables.rotary_dim` values of every head vector in place and returns the same storage; the rest is untouched.
/// \param x [T, heads, dim] float32 or bfloat16, writable. Computed in float32. Source: DeepSeek-V3 inference/model.py, apply_rotary_emb.
Tensor rotary_embedding(Tensor x, const RopeTables& tables, const RotaryEmbeddingConfig& cfg);

}  // namespace meshseek

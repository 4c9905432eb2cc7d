/// Multi-head latent attention over a latent cache. Causal; softmax in float32.
#pragma once
#include <cstdint>
#include <span>

#include "ops/flash_mla_config.hpp"

namespace meshseek {

/// The latent cache of one layer and one sequence: per token the normalised latent, then the rotated shared key. State, never serialised.
struct LatentCache {
  Tensor rows = {};             ///< [capacity, kv_lora_rank + qk_rope_head_dim], cfg.dtype of update_cache
  std::int64_t num_tokens = 0;  ///< rows in use
  std::int64_t kv_lora_rank = 0;
  std::int64_t owner = 0;  ///< on a mesh of several rows: rank of the device that has the rows; elsewhere only num_tokens is kept
};

/// The caches of the sequences of one pass. Its T rows belong to them in equal consecutive runs: row t to sequence t / (T / B). B = 1, or T = B in decode.
using LatentCaches = std::span<LatentCache* const>;

/// Appends T tokens, or nothing when it throws. \param c_kv [T, kv_lora_rank] normalised; \param k_rope [T, 1, qk_rope_head_dim] rotated.
/// \throws Error when the capacity does not suffice (names both).
void update_cache(LatentCaches caches, const Tensor& c_kv, const Tensor& k_rope, const UpdateCacheConfig& cfg);
void update_cache(LatentCache& cache, const Tensor& c_kv, const Tensor& k_rope, const UpdateCacheConfig& cfg);

/// The cached latents as a tensor [num_tokens, 1, kv_lora_rank] (copied) of `dtype`, input of the naive form's expansion.
Tensor cached_latents(const LatentCache& cache, DataType dtype);

/// Naive form. Query row t is token cache.num_tokens - T + t and sees tokens up to itself.
/// \param q      [T, heads, qk_nope + qk_rope], rope part rotated
/// \param k_nope [S, heads, qk_nope], S = cache.num_tokens
/// \param v      [S, heads, v_head_dim]
/// \return       [T, heads, v_head_dim]. Scores are kept for one block of queries and tokens: memory independent of S.
Tensor flash_mla_prefill(const Tensor& q, const Tensor& k_nope, const Tensor& v, const LatentCache& cache, const FlashMlaConfig& cfg);

/// Absorbed form: scores and values straight from the latent. Each sequence's rows see its own cache, and have the bits that they have alone.
/// \param q_latent [T, heads, kv_lora_rank]; \param q [T, heads, qk_nope + qk_rope], of which only the rope part is read
/// \return         [T, heads, kv_lora_rank]. Work: 2 T heads S (2 kv_lora_rank + qk_rope) FLOP.
Tensor flash_mla_decode(const Tensor& q_latent, const Tensor& q, std::span<const LatentCache* const> caches, const FlashMlaConfig& cfg);
Tensor flash_mla_decode(const Tensor& q_latent, const Tensor& q, const LatentCache& cache, const FlashMlaConfig& cfg);

}  // namespace meshseek

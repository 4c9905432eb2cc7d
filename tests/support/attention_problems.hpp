/// Attention problems of tests, and both forms over them.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "ops/flash_mla.hpp"
#include "ops/test_tensors.hpp"
#include "reference/attention.hpp"

namespace meshseek::testing {

/// Everything that one attention reads. T queries are the last of S tokens.
struct Problem {
  reference::AttentionShape shape = {};
  double scale = 0.0;
  std::vector<float> q = {};         ///< [T, heads, nope + rope]
  std::vector<float> k_nope = {};    ///< [S, heads, nope]
  std::vector<float> v = {};         ///< [S, heads, value_dim]
  std::vector<float> q_latent = {};  ///< [T, heads, rank]
  std::vector<float> latents = {};   ///< [S, rank]
  std::vector<float> k_rope = {};    ///< [S, rope]
};

inline Problem make_problem(const reference::AttentionShape& s, unsigned seed = 1) {
  return {.shape = s,
          .scale = 1.5 / std::sqrt(static_cast<double>(s.nope + s.rope)),
          .q = random_values(s.num_queries * s.heads * (s.nope + s.rope), seed),
          .k_nope = random_values(s.num_tokens * s.heads * s.nope, seed + 1),
          .v = random_values(s.num_tokens * s.heads * s.value_dim, seed + 2),
          .q_latent = random_values(s.num_queries * s.heads * s.rank, seed + 3),
          .latents = random_values(s.num_tokens * s.rank, seed + 4),
          .k_rope = random_values(s.num_tokens * s.rope, seed + 5)};
}

inline LatentCache cache_of(const Problem& p, Device& device, DataType dtype = DataType::float32) {
  const reference::AttentionShape& s = p.shape;
  LatentCache cache = {.rows = Tensor::zeros({s.num_tokens + 3, s.rank + s.rope}, dtype, &device), .kv_lora_rank = s.rank};
  update_cache(cache, activation(p.latents, {s.num_tokens, s.rank}, device), activation(p.k_rope, {s.num_tokens, 1, s.rope}, device),
               {.dtype = dtype});
  return cache;
}

struct RunOptions {
  MathFidelity fidelity = MathFidelity::HiFi4;
  DataType dtype = DataType::float32;  ///< of the result
  DataType cache = DataType::float32;
};

inline FlashMlaConfig config_of(const Problem& p, MlaForm form, const RunOptions& options = {}) {
  return {.form = form, .scale = p.scale, .compute_kernel_config = {.math_fidelity = options.fidelity}, .dtype = options.dtype};
}

/// Queries and tokens [0, end) only, as a cache that has seen no more.
inline Tensor run_naive(const Problem& p, std::int64_t first_query, std::int64_t end_query, Device& device,
                        const RunOptions& options = {}) {
  const reference::AttentionShape& s = p.shape;
  LatentCache cache = cache_of(p, device, options.cache);
  cache.num_tokens = s.num_tokens - s.num_queries + end_query;
  const Tensor q = activation(p.q, {s.num_queries, s.heads, s.nope + s.rope}, device).slice_rows(first_query, end_query);
  const Tensor k_nope = activation(p.k_nope, {s.num_tokens, s.heads, s.nope}, device).slice_rows(0, cache.num_tokens);
  const Tensor v = activation(p.v, {s.num_tokens, s.heads, s.value_dim}, device).slice_rows(0, cache.num_tokens);
  return flash_mla_prefill(q, k_nope, v, cache, config_of(p, MlaForm::naive, options));
}

inline Tensor run_absorbed(const Problem& p, std::int64_t first_query, std::int64_t end_query, Device& device,
                           const RunOptions& options = {}) {
  const reference::AttentionShape& s = p.shape;
  LatentCache cache = cache_of(p, device, options.cache);
  cache.num_tokens = s.num_tokens - s.num_queries + end_query;
  const Tensor q_latent = activation(p.q_latent, {s.num_queries, s.heads, s.rank}, device).slice_rows(first_query, end_query);
  const Tensor q = activation(p.q, {s.num_queries, s.heads, s.nope + s.rope}, device).slice_rows(first_query, end_query);
  return flash_mla_decode(q_latent, q, cache, config_of(p, MlaForm::absorbed, options));
}

inline double largest_norm(std::span<const float> values, std::int64_t dim) {
  double largest = 0.0;
  for (std::size_t begin = 0; begin < values.size(); begin += static_cast<std::size_t>(dim)) {
    double sum = 0.0;
    for (const float value : values.subspan(begin, static_cast<std::size_t>(dim))) sum += double{value} * double{value};
    largest = std::max(largest, std::sqrt(sum));
  }
  return largest;
}

inline double largest(std::span<const float> values) {
  double result = 0.0;
  for (const float value : values) result = std::max(result, std::abs(double{value}));
  return result;
}

}  // namespace meshseek::testing

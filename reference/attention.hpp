/// Causal multi-head latent attention in float64, in both forms.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace meshseek::reference {

/// T queries are the last of S tokens.
struct AttentionShape {
  std::int64_t num_queries = 0;  ///< T
  std::int64_t num_tokens = 0;   ///< S
  std::int64_t heads = 0;
  std::int64_t nope = 0;
  std::int64_t rope = 0;
  std::int64_t value_dim = 0;  ///< the naive form's
  std::int64_t rank = 0;       ///< the absorbed form's
};

/// \param q [T, heads, nope + rope]; \param k_nope [S, heads, nope]; \param k_rope [S, rope]; \param v [S, heads, value_dim]
/// \return [T, heads, value_dim]
std::vector<double> naive_attention(const AttentionShape& shape, std::span<const float> q, std::span<const float> k_nope,
                                    std::span<const float> k_rope, std::span<const float> v, double scale);

/// \param q_latent [T, heads, rank]; \param q [T, heads, nope + rope], its rope part counts; \param latents [S, rank]; \param k_rope [S, rope]
/// \return [T, heads, rank]
std::vector<double> absorbed_attention(const AttentionShape& shape, std::span<const float> q_latent, std::span<const float> q,
                                       std::span<const float> latents, std::span<const float> k_rope, double scale);

}  // namespace meshseek::reference

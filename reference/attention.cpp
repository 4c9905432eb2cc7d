#include "reference/attention.hpp"

#include "reference/norm.hpp"

namespace meshseek::reference {
namespace {

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0.0;
  for (std::size_t idx = 0; idx < a.size(); ++idx) sum += double{a[idx]} * double{b[idx]};
  return sum;
}

std::span<const float> row(std::span<const float> values, std::int64_t idx, std::int64_t cols) {
  return values.subspan(static_cast<std::size_t>(idx * cols), static_cast<std::size_t>(cols));
}

void append_weighted_sum(std::vector<double>& result, const std::vector<double>& probabilities, std::int64_t dim, const auto& value_row) {
  for (std::size_t col = 0; col < static_cast<std::size_t>(dim); ++col) {
    double sum = 0.0;
    for (std::size_t token = 0; token < probabilities.size(); ++token)
      sum += probabilities[token] * double{value_row(static_cast<std::int64_t>(token))[col]};
    result.push_back(sum);
  }
}

}  // namespace

std::vector<double> naive_attention(const AttentionShape& s, std::span<const float> q, std::span<const float> k_nope,
                                    std::span<const float> k_rope, std::span<const float> v, double scale) {
  std::vector<double> result;
  for (std::int64_t query_idx = 0; query_idx < s.num_queries; ++query_idx) {
    const std::int64_t visible = s.num_tokens - s.num_queries + query_idx + 1;
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const auto query = row(q, query_idx * s.heads + head, s.nope + s.rope);
      const auto query_nope = query.first(static_cast<std::size_t>(s.nope));
      const auto query_rope = query.last(static_cast<std::size_t>(s.rope));
      std::vector<double> scores;
      for (std::int64_t token = 0; token < visible; ++token) {
        scores.push_back(scale *
                         (dot(query_nope, row(k_nope, token * s.heads + head, s.nope)) + dot(query_rope, row(k_rope, token, s.rope))));
      }
      append_weighted_sum(result, softmax(scores), s.value_dim,
                          [&](std::int64_t token) { return row(v, token * s.heads + head, s.value_dim); });
    }
  }
  return result;
}

std::vector<double> absorbed_attention(const AttentionShape& s, std::span<const float> q_latent, std::span<const float> q,
                                       std::span<const float> latents, std::span<const float> k_rope, double scale) {
  std::vector<double> result;
  for (std::int64_t query_idx = 0; query_idx < s.num_queries; ++query_idx) {
    const std::int64_t visible = s.num_tokens - s.num_queries + query_idx + 1;
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const std::int64_t query_row = query_idx * s.heads + head;
      const auto query_rope = row(q, query_row, s.nope + s.rope).last(static_cast<std::size_t>(s.rope));
      std::vector<double> scores;
      for (std::int64_t token = 0; token < visible; ++token) {
        scores.push_back(
            scale * (dot(row(q_latent, query_row, s.rank), row(latents, token, s.rank)) + dot(query_rope, row(k_rope, token, s.rope))));
      }
      append_weighted_sum(result, softmax(scores), s.rank, [&](std::int64_t token) { return row(latents, token, s.rank); });
    }
  }
  return result;
}

}  // namespace meshseek::reference

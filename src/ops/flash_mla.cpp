#include "ops/flash_mla.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ops/capture.hpp"
#include "ops/cpu/attention.hpp"
#include "ops/cpu/latent_attention.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

/// The rows in use: the capacity is no part of the result.
void add_cache(const LatentCache& cache, CallValues& in) {
  in.add("cache", cache.rows.slice_rows(0, cache.num_tokens)).add("kv_lora_rank", cache.kv_lora_rank);
}

std::int64_t pad_for_kernels(std::int64_t dim) { return round_up(dim, kFaceSize); }

void check_form(const FlashMlaConfig& cfg, MlaForm form, std::string_view op) {
  if (cfg.form != form)
    throw ConfigError(fmt::format("[{}] the config asks for the {} form; expected {}", op, enum_name(cfg.form), enum_name(form)));
}

/// Queries that pass over the keys together: what is gathered of a block of tokens serves all of them.
constexpr std::int64_t kQueries = 128;

/// Expands one head's keys and values from the projections and the shared rope key, a block of tokens at a time.
class HeadReader {
 public:
  HeadReader(const Tensor& k_nope, const Tensor& v, const LatentCache& cache)
      : heads_(k_nope.dim(1)),
        nope_(k_nope.dim(2)),
        rank_(cache.kv_lora_rank),
        rope_(cache.rows.dim(1) - rank_),
        key_stride_(pad_for_kernels(nope_ + rope_)),
        value_stride_(pad_for_kernels(v.dim(2))),
        read_k_(k_nope, nope_),
        read_v_(v, v.dim(2)),
        read_cache_(cache.rows, cache.rows.dim(1)),
        keys_(static_cast<std::size_t>(cpu::FlashRows::kBlock * key_stride_)),
        values_(static_cast<std::size_t>(cpu::FlashRows::kBlock * value_stride_)) {}

  std::int64_t value_stride() const { return value_stride_; }

  cpu::KeyBlock read(std::int64_t head_idx, std::int64_t first_token, std::int64_t count) {
    for (std::int64_t idx = 0; idx < count; ++idx) {
      const std::int64_t token = first_token + idx;
      read_k_.read(token * heads_ + head_idx, keys_.data() + idx * key_stride_);
      read_cache_.read_at(token, rank_, keys_.data() + idx * key_stride_ + nope_, rope_);
      read_v_.read(token * heads_ + head_idx, values_.data() + idx * value_stride_);
    }
    return {.first_token = first_token,
            .count = count,
            .keys = keys_.data(),
            .key_stride = key_stride_,
            .values = values_.data(),
            .value_stride = value_stride_};
  }

 private:
  std::int64_t heads_;
  std::int64_t nope_;
  std::int64_t rank_;
  std::int64_t rope_;
  std::int64_t key_stride_;
  std::int64_t value_stride_;
  cpu::RowReader read_k_;
  cpu::RowReader read_v_;
  cpu::RowReader read_cache_;
  std::vector<float> keys_;    ///< [FlashRows::kBlock, key_stride]
  std::vector<float> values_;  ///< [FlashRows::kBlock, value_stride]
};

/// Some queries of one head over all tokens that they see.
class HeadAttention {
 public:
  HeadAttention(const Tensor& q, const Tensor& k_nope, const Tensor& v, const LatentCache& cache, const FlashMlaConfig& cfg)
      : head_(k_nope, v, cache),
        heads_(q.dim(1)),
        first_seen_(cache.num_tokens - q.dim(0) + 1),
        key_width_(q.dim(2)),
        rows_(kQueries, key_width_, head_.value_stride(), static_cast<float>(cfg.scale)),
        read_q_(q, q.dim(2)),
        queries_(static_cast<std::size_t>(kQueries * key_width_)),
        sums_(kQueries, head_.value_stride()) {}

  void run(std::int64_t head_idx, std::int64_t first_query, std::int64_t count, const cpu::RowWriter& writer) {
    std::vector<std::int64_t> visible;
    for (std::int64_t idx = 0; idx < count; ++idx) {
      read_q_.read((first_query + idx) * heads_ + head_idx, queries_.data() + idx * key_width_);
      visible.push_back(first_seen_ + first_query + idx);
    }
    rows_.set_queries(queries_.data(), key_width_, visible);
    sums_.clear();
    for (std::int64_t token = 0; token < visible.back(); token += cpu::FlashRows::kBlock) {
      rows_.add(head_.read(head_idx, token, std::min(cpu::FlashRows::kBlock, visible.back() - token)), sums_);
    }
    for (std::int64_t idx = 0; idx < count; ++idx) {
      float* row = sums_.values.data() + idx * head_.value_stride();
      const auto inverse = static_cast<float>(1.0 / sums_.sums[static_cast<std::size_t>(idx)]);
      for (std::int64_t col = 0; col < head_.value_stride(); ++col) row[col] *= inverse;
      writer.write((first_query + idx) * heads_ + head_idx, row);
    }
  }

 private:
  HeadReader head_;
  std::int64_t heads_;
  std::int64_t first_seen_;  ///< tokens that the first query sees
  std::int64_t key_width_;
  cpu::FlashRows rows_;
  cpu::RowReader read_q_;
  std::vector<float> queries_;  ///< [kQueries, key_width]
  cpu::RowSums sums_;           ///< of kQueries rows
};

void check_prefill(const Tensor& q, const Tensor& k_nope, const Tensor& v, const LatentCache& cache) {
  const std::int64_t rope = cache.rows.dim(1) - cache.kv_lora_rank;
  const bool fits = q.rank() == 3 && k_nope.rank() == 3 && v.rank() == 3 && k_nope.dim(0) == cache.num_tokens &&
                    v.dim(0) == cache.num_tokens && k_nope.dim(1) == q.dim(1) && v.dim(1) == q.dim(1) && q.dim(2) == k_nope.dim(2) + rope;
  if (!fits) {
    throw ShapeError(fmt::format(
        "[flash_mla_prefill] q is {}, k_nope {}, v {} with {} cached tokens and rope dimension {}; expected [T, n, dn + dr], [S, n, "
        "dn], [S, n, dv]",
        to_string(q.shape()), to_string(k_nope.shape()), to_string(v.shape()), cache.num_tokens, rope));
  }
}

/// Late queries see more: taking them alternately from both ends gives equal shares of a range about equal work.
std::int64_t balanced(std::int64_t idx, std::int64_t count) { return idx % 2 == 0 ? idx / 2 : count - 1 - idx / 2; }

/// The last `num_queries` of the cached tokens are asked about. \throws ShapeError when the cache cannot be what update_cache() filled
void check_cache(const LatentCache& cache, std::int64_t num_queries, std::string_view op) {
  const bool fits = cache.rows.rank() == 2 && cache.kv_lora_rank > 0 && cache.kv_lora_rank <= cache.rows.dim(1) &&
                    cache.num_tokens <= cache.rows.dim(0) && num_queries <= cache.num_tokens;
  if (!fits) {
    throw ShapeError(fmt::format("[{}] {} queries but the cache {} holds {} tokens of rank {}; expected update_cache() first", op,
                                 num_queries, to_string(cache.rows.shape()), cache.num_tokens, cache.kv_lora_rank));
  }
}

void check_decode(const Tensor& q_latent, const Tensor& q, std::span<const LatentCache* const> caches) {
  const auto num_caches = static_cast<std::int64_t>(caches.size());
  const LatentCache& first = *caches.front();
  for (const LatentCache* cache : caches) {
    check_cache(*cache, q_latent.dim(0) / num_caches, "flash_mla_decode");
    if (cache->kv_lora_rank != first.kv_lora_rank || cache->rows.dim(1) != first.rows.dim(1) || q_latent.dim(0) % num_caches != 0) {
      throw ShapeError(
          fmt::format("[flash_mla_decode] {} rows for {} sequences; expected equally many rows for each, and caches of one width",
                      q_latent.dim(0), num_caches));
    }
  }
  const std::int64_t rank = first.kv_lora_rank;
  const std::int64_t rope = first.rows.dim(1) - rank;
  const bool fits = q_latent.rank() == 3 && q.rank() == 3 && q_latent.dim(0) == q.dim(0) && q_latent.dim(1) == q.dim(1) &&
                    q_latent.dim(2) == rank && q.dim(2) >= rope;
  if (!fits) {
    throw ShapeError(fmt::format(
        "[flash_mla_decode] q_latent is {} and q {} with {} cached tokens of {} + {} values; expected [T, n, {}] and [T, n, dn + {}]",
        to_string(q_latent.shape()), to_string(q.shape()), first.num_tokens, rank, rope, rank, rope));
  }
}

}  // namespace

Tensor flash_mla_prefill(const Tensor& q, const Tensor& k_nope, const Tensor& v, const LatentCache& cache, const FlashMlaConfig& cfg) {
  const RecordedCall call(q, "flash_mla_prefill", cfg,
                          [&](CallValues& in) { add_cache(cache, in.add("q", q).add("k_nope", k_nope).add("v", v)); });
  Device& device = device_of(q, "flash_mla_prefill");
  log_operator(
      device, "flash_mla_prefill", [&] { return fmt::format("naive q {}", to_string(q.shape())); },
      [&] { return fmt::format("naive, result in {}", to_string(cfg.memory_config)); }, cache.num_tokens);
  validate(cfg, "flash_mla_prefill");
  check_form(cfg, MlaForm::naive, "flash_mla_prefill");
  check_cache(cache, q.dim(0), "flash_mla_prefill");
  check_prefill(q, k_nope, v, cache);
  const std::int64_t num_queries = q.dim(0);
  const std::int64_t heads = q.dim(1);
  const std::int64_t v_dim = v.dim(2);
  Tensor y = make_result({num_queries, heads, v_dim}, cfg.dtype, cfg.memory_config, device, "flash_mla_prefill");  // [T, n, dv]
  const cpu::RowWriter writer(y, v_dim);
  const std::int64_t batches = ceil_div(num_queries, kQueries);
  device.team().parallel_for(static_cast<std::size_t>(heads * batches), 1, [&](std::size_t begin, std::size_t end) {
    HeadAttention attention(q, k_nope, v, cache, cfg);
    for (auto item = static_cast<std::int64_t>(begin); item < static_cast<std::int64_t>(end); ++item) {
      const std::int64_t first = balanced(item % batches, batches) * kQueries;
      attention.run(item / batches, first, std::min(kQueries, num_queries - first), writer);
    }
  });
  return call.result(std::move(y));
}

Tensor flash_mla_decode(const Tensor& q_latent, const Tensor& q, std::span<const LatentCache* const> caches, const FlashMlaConfig& cfg) {
  const RecordedCall call(q_latent, "flash_mla_decode", cfg, [&](CallValues& in) {
    only_sequence(caches.size(), "flash_mla_decode");
    add_cache(*caches.front(), in.add("q_latent", q_latent).add("q", q));
  });
  Device& device = device_of(q_latent, "flash_mla_decode");
  log_operator(
      device, "flash_mla_decode", [&] { return fmt::format("absorbed q {}", to_string(q_latent.shape())); },
      [&] { return fmt::format("absorbed, result in {}", to_string(cfg.memory_config)); }, caches.front()->num_tokens);
  validate(cfg, "flash_mla_decode");
  check_form(cfg, MlaForm::absorbed, "flash_mla_decode");
  check_decode(q_latent, q, caches);
  const LatentCache& first = *caches.front();
  const std::int64_t rank = first.kv_lora_rank;
  const std::int64_t width = first.rows.dim(1);
  const std::int64_t heads = q.dim(1);
  Tensor y = make_result({q_latent.dim(0), heads, rank}, cfg.dtype, cfg.memory_config, device, "flash_mla_decode");  // [T, n, r]
  const std::int64_t stride = pad_for_kernels(width);
  const cpu::RowReader read_latent(q_latent, rank);
  const cpu::RowReader read_q(q, q.dim(2));
  const std::int64_t num_rows = q_latent.dim(0) * heads;  // row = query * heads + head; all heads share the keys
  const std::int64_t num_queries = q_latent.dim(0) / static_cast<std::int64_t>(caches.size());  // of each sequence
  std::vector<float> queries(static_cast<std::size_t>(num_rows * stride));
  std::vector<std::int64_t> visible(static_cast<std::size_t>(num_rows));
  for (std::int64_t row = 0; row < num_rows; ++row) {
    const std::int64_t query = row / heads;
    read_latent.read(row, queries.data() + row * stride);
    read_q.read_at(row, q.dim(2) - (width - rank), queries.data() + row * stride + rank, width - rank);
    const LatentCache& cache = *caches[static_cast<std::size_t>(query / num_queries)];
    visible[static_cast<std::size_t>(row)] = cache.num_tokens - num_queries + query % num_queries + 1;
  }
  std::vector<cpu::LatentProblem> problems;
  for (std::size_t idx = 0; idx < caches.size(); ++idx) {
    const std::size_t rows = visible.size() / caches.size();
    problems.push_back({.cache = cpu::RowReader(caches[idx]->rows, width),
                        .num_tokens = caches[idx]->num_tokens,
                        .width = width,
                        .rank = rank,
                        .queries = std::span(queries).subspan(idx * rows * static_cast<std::size_t>(stride)),
                        .stride = stride,
                        .visible = std::span(visible).subspan(idx * rows, rows),
                        .scale = static_cast<float>(cfg.scale)});
  }
  std::vector<float> results;
  cpu::attend_latent(problems, results, device.team());
  const cpu::RowWriter writer(y, rank);
  for (std::int64_t row = 0; row < num_rows; ++row) writer.write(row, results.data() + row * pad_for_kernels(rank));
  return call.result(std::move(y));
}

Tensor flash_mla_decode(const Tensor& q_latent, const Tensor& q, const LatentCache& cache, const FlashMlaConfig& cfg) {
  const LatentCache* one = &cache;
  return flash_mla_decode(q_latent, q, std::span<const LatentCache* const>(&one, 1), cfg);
}

}  // namespace meshseek

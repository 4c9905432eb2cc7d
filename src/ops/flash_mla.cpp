#include "ops/flash_mla.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory_resource>
#include <vector>

#include "ops/capture.hpp"
#include "ops/cpu/head_attention.hpp"
#include "ops/cpu/latent_attention.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/cpu/tile_attention.hpp"
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

/// Queries of all sequences side by side: row = query * heads + head; all heads share the keys.
class AbsorbedQueries {
 public:
  AbsorbedQueries(const Tensor& q_latent, const Tensor& q, std::span<const LatentCache* const> caches, Device& device)
      : caches_(caches),
        rank_(caches.front()->kv_lora_rank),
        width_(caches.front()->rows.dim(1)),
        stride_(pad_for_kernels(width_)),
        rows_(q_latent.dim(0) * q.dim(1) * stride_, device),
        visible_(static_cast<std::size_t>(q_latent.dim(0) * q.dim(1)), &device.scratch()) {
    const cpu::RowReader read_latent(q_latent, rank_);
    const cpu::RowReader read_q(q, q.dim(2));
    const std::int64_t num_queries = q_latent.dim(0) / static_cast<std::int64_t>(caches.size());  // of each sequence
    for (std::int64_t row = 0; row < num_rows(); ++row) {
      const std::int64_t query = row / q.dim(1);
      float* line = rows_.data() + row * stride_;
      read_latent.read(row, line);
      read_q.read_at(row, q.dim(2) - (width_ - rank_), line + rank_, width_ - rank_);
      std::fill(line + width_, line + stride_, 0.0F);
      const LatentCache& cache = *caches[static_cast<std::size_t>(query / num_queries)];
      visible_[static_cast<std::size_t>(row)] = cache.num_tokens - num_queries + query % num_queries + 1;
    }
  }

  std::int64_t num_rows() const { return static_cast<std::int64_t>(visible_.size()); }
  cpu::LatentProblem problem(std::size_t sequence_idx, float scale, bool on_tiles) const {
    const std::size_t rows = visible_.size() / caches_.size();
    const LatentCache& cache = *caches_[sequence_idx];
    return {.cache = cpu::RowReader(cache.rows, width_),
            .num_tokens = cache.num_tokens,
            .width = width_,
            .rank = rank_,
            .queries = std::span<const float>(rows_).subspan(sequence_idx * rows * static_cast<std::size_t>(stride_)),
            .stride = stride_,
            .visible = std::span(visible_).subspan(sequence_idx * rows, rows),
            .scale = scale,
            .on_tiles = on_tiles};
  }

 private:
  std::span<const LatentCache* const> caches_;
  std::int64_t rank_;
  std::int64_t width_;
  std::int64_t stride_;
  Scratch<float> rows_;                     ///< [rows, stride]
  std::pmr::vector<std::int64_t> visible_;  ///< [rows]: how many tokens each sees
};

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
  const std::int64_t v_dim = v.dim(2);
  Tensor y = make_result({q.dim(0), q.dim(1), v_dim}, cfg.dtype, cfg.memory_config, device, "flash_mla_prefill");  // [T, n, dv]
  const cpu::RowWriter writer(y, v_dim);
  cpu::attend_heads({.q = &q,
                     .k_nope = &k_nope,
                     .v = &v,
                     .cache = &cache.rows,
                     .num_tokens = cache.num_tokens,
                     .rank = cache.kv_lora_rank,
                     .scale = static_cast<float>(cfg.scale),
                     .on_tiles = cpu::attends_on_tiles(cfg.compute_kernel_config.math_fidelity)},
                    writer, device);
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
  const std::int64_t rank = caches.front()->kv_lora_rank;
  Tensor y = make_result({q_latent.dim(0), q.dim(1), rank}, cfg.dtype, cfg.memory_config, device, "flash_mla_decode");  // [T, n, r]
  const AbsorbedQueries queries(q_latent, q, caches, device);
  const bool on_tiles = q.dim(1) >= cpu::kTileRows && cpu::attends_on_tiles(cfg.compute_kernel_config.math_fidelity);
  std::pmr::vector<cpu::LatentProblem> problems(&device.scratch());
  for (std::size_t idx = 0; idx < caches.size(); ++idx) problems.push_back(queries.problem(idx, static_cast<float>(cfg.scale), on_tiles));
  const Scratch<float> results(queries.num_rows() * pad_for_kernels(rank), device);
  cpu::attend_latent(problems, results, device);
  const cpu::RowWriter writer(y, rank);
  for (std::int64_t row = 0; row < queries.num_rows(); ++row) writer.write(row, results.data() + row * pad_for_kernels(rank));
  return call.result(std::move(y));
}

Tensor flash_mla_decode(const Tensor& q_latent, const Tensor& q, const LatentCache& cache, const FlashMlaConfig& cfg) {
  const LatentCache* one = &cache;
  return flash_mla_decode(q_latent, q, std::span<const LatentCache* const>(&one, 1), cfg);
}

}  // namespace meshseek

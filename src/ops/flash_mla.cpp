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

/// One head's keys [S, padded dk] and values [S, padded dv], expanded from the projections and the shared rope key.
struct HeadKeys {
  std::vector<float> keys = {};
  std::vector<float> values = {};
};

HeadKeys gather_head(const Tensor& k_nope, const Tensor& v, const LatentCache& cache, std::int64_t head_idx) {
  const std::int64_t heads = k_nope.dim(1);
  const std::int64_t nope = k_nope.dim(2);
  const std::int64_t v_dim = v.dim(2);
  const std::int64_t width = cache.rows.dim(1);
  const std::int64_t stride = pad_for_kernels(nope + width - cache.kv_lora_rank);
  const std::int64_t v_stride = pad_for_kernels(v_dim);
  const cpu::RowReader read_k(k_nope, nope);
  const cpu::RowReader read_v(v, v_dim);
  const cpu::RowReader read_cache(cache.rows, width);
  HeadKeys head = {std::vector<float>(static_cast<std::size_t>(cache.num_tokens * stride)),
                   std::vector<float>(static_cast<std::size_t>(cache.num_tokens * v_stride))};
  std::vector<float> row(static_cast<std::size_t>(width));
  for (std::int64_t token = 0; token < cache.num_tokens; ++token) {
    float* key = head.keys.data() + token * stride;
    read_k.read(token * heads + head_idx, key);
    read_cache.read(token, row.data());
    std::copy(row.begin() + cache.kv_lora_rank, row.end(), key + nope);
    read_v.read(token * heads + head_idx, head.values.data() + token * v_stride);
  }
  return head;
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
  const cpu::RowReader read_q(q, q.dim(2));
  const cpu::RowWriter writer(y, v_dim);
  const std::int64_t batches = ceil_div(num_queries, cpu::Queries::kMax);
  device.team().parallel_for(static_cast<std::size_t>(heads * batches), 1, [&](std::size_t begin, std::size_t end) {
    cpu::Queries queries(pad_for_kernels(q.dim(2)), pad_for_kernels(v_dim));
    HeadKeys head;
    for (auto item = static_cast<std::int64_t>(begin); item < static_cast<std::int64_t>(end); ++item) {
      const std::int64_t head_idx = item / batches;
      if (item == static_cast<std::int64_t>(begin) || item % batches == 0) head = gather_head(k_nope, v, cache, head_idx);
      const std::int64_t first = balanced(item % batches, batches) * cpu::Queries::kMax;
      queries.count = std::min(cpu::Queries::kMax, num_queries - first);
      for (std::int64_t idx = 0; idx < queries.count; ++idx) {
        read_q.read((first + idx) * heads + head_idx, queries.query(idx));
        queries.visible[idx] = cache.num_tokens - num_queries + first + idx + 1;
      }
      cpu::attend(queries, {head.keys.data(), queries.key_stride, head.values.data(), queries.value_stride}, cfg.scale);
      for (std::int64_t idx = 0; idx < queries.count; ++idx) writer.write((first + idx) * heads + head_idx, queries.result(idx));
    }
  });
  return call.result(std::move(y));
}

Tensor flash_mla_decode(const Tensor& q_latent, const Tensor& q, const LatentCache& cache, const FlashMlaConfig& cfg) {
  const RecordedCall call(q_latent, "flash_mla_decode", cfg,
                          [&](CallValues& in) { add_cache(cache, in.add("q_latent", q_latent).add("q", q)); });
  Device& device = device_of(q_latent, "flash_mla_decode");
  log_operator(
      device, "flash_mla_decode", [&] { return fmt::format("absorbed q {}", to_string(q_latent.shape())); },
      [&] { return fmt::format("absorbed, result in {}", to_string(cfg.memory_config)); }, cache.num_tokens);
  validate(cfg, "flash_mla_decode");
  check_form(cfg, MlaForm::absorbed, "flash_mla_decode");
  check_cache(cache, q_latent.dim(0), "flash_mla_decode");
  const std::int64_t rank = cache.kv_lora_rank;
  const std::int64_t width = cache.rows.dim(1);
  const std::int64_t rope = width - rank;
  const bool fits = q_latent.rank() == 3 && q.rank() == 3 && q_latent.dim(0) == q.dim(0) && q_latent.dim(1) == q.dim(1) &&
                    q_latent.dim(2) == rank && q.dim(2) >= rope;
  if (!fits) {
    throw ShapeError(fmt::format(
        "[flash_mla_decode] q_latent is {} and q {} with {} cached tokens of {} + {} values; expected [T, n, {}] and [T, n, dn + {}]",
        to_string(q_latent.shape()), to_string(q.shape()), cache.num_tokens, rank, rope, rank, rope));
  }
  const std::int64_t num_queries = q.dim(0);
  const std::int64_t heads = q.dim(1);
  Tensor y = make_result({num_queries, heads, rank}, cfg.dtype, cfg.memory_config, device, "flash_mla_decode");  // [T, n, r]
  const std::int64_t stride = pad_for_kernels(width);
  const cpu::RowReader cache_rows(cache.rows, width);
  const cpu::RowReader read_latent(q_latent, rank);
  const cpu::RowReader read_q(q, q.dim(2));
  const std::int64_t num_rows = num_queries * heads;  // row = query * heads + head; all heads share the keys
  std::vector<float> queries(static_cast<std::size_t>(num_rows * stride));
  std::vector<std::int64_t> visible(static_cast<std::size_t>(num_rows));
  for (std::int64_t row = 0; row < num_rows; ++row) {
    read_latent.read(row, queries.data() + row * stride);
    read_q.read_at(row, q.dim(2) - rope, queries.data() + row * stride + rank, rope);
    visible[static_cast<std::size_t>(row)] = cache.num_tokens - num_queries + row / heads + 1;
  }
  std::vector<float> results;
  cpu::attend_latent({.cache = &cache_rows,
                      .num_tokens = cache.num_tokens,
                      .width = width,
                      .rank = rank,
                      .queries = queries,
                      .stride = stride,
                      .visible = visible,
                      .scale = static_cast<float>(cfg.scale)},
                     results, device.team());
  const cpu::RowWriter writer(y, rank);
  for (std::int64_t row = 0; row < num_rows; ++row) writer.write(row, results.data() + row * pad_for_kernels(rank));
  return call.result(std::move(y));
}

}  // namespace meshseek

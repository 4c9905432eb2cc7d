#include "ops/flash_mla.hpp"

#include <fmt/format.h>

#include <vector>

#include "ops/cpu/attention.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/operator_log.hpp"

namespace meshseek {
namespace {

std::int64_t pad_for_kernels(std::int64_t dim) { return round_up(dim, kFaceSize); }

void check_form(const FlashMlaConfig& cfg, MlaForm form, std::string_view op) {
  if (cfg.form != form) throw ConfigError(fmt::format("[{}] the config asks for the {} form", op, enum_name(cfg.form)));
}

/// One head's keys [S, padded dk] and values [S, dv], expanded from the projections and the shared rope key.
struct HeadKeys {
  std::vector<float> keys;
  std::vector<float> values;
};

HeadKeys gather_head(const Tensor& k_nope, const Tensor& v, const LatentCache& cache, std::int64_t head_idx) {
  const std::int64_t heads = k_nope.dim(1);
  const std::int64_t nope = k_nope.dim(2);
  const std::int64_t v_dim = v.dim(2);
  const std::int64_t width = cache.rows.dim(1);
  const std::int64_t stride = pad_for_kernels(nope + width - cache.kv_lora_rank);
  const cpu::RowReader read_k(k_nope, nope);
  const cpu::RowReader read_v(v, v_dim);
  const cpu::RowReader read_cache(cache.rows, width);
  HeadKeys head = {std::vector<float>(static_cast<std::size_t>(cache.num_tokens * stride)),
                   std::vector<float>(static_cast<std::size_t>(cache.num_tokens * v_dim))};
  std::vector<float> row(static_cast<std::size_t>(width));
  for (std::int64_t token = 0; token < cache.num_tokens; ++token) {
    float* key = head.keys.data() + token * stride;
    read_k.read(token * heads + head_idx, key);
    read_cache.read(token, row.data());
    std::copy(row.begin() + cache.kv_lora_rank, row.end(), key + nope);
    read_v.read(token * heads + head_idx, head.values.data() + token * v_dim);
  }
  return head;
}

void check_prefill(const Tensor& q, const Tensor& k_nope, const Tensor& v, const LatentCache& cache) {
  const std::int64_t rope = cache.rows.dim(1) - cache.kv_lora_rank;
  const bool fits = q.rank() == 3 && k_nope.rank() == 3 && v.rank() == 3 && k_nope.dim(0) == cache.num_tokens && v.dim(0) == cache.num_tokens &&
                    q.dim(0) <= cache.num_tokens && k_nope.dim(1) == q.dim(1) && v.dim(1) == q.dim(1) && q.dim(2) == k_nope.dim(2) + rope;
  if (!fits) {
    throw ShapeError(fmt::format("[flash_mla_prefill] q is {}, k_nope {}, v {} with {} cached tokens and rope dimension {}; expected [T, n, dn + dr], [S, n, "
                                 "dn], [S, n, dv]",
                                 to_string(q.shape()), to_string(k_nope.shape()), to_string(v.shape()), cache.num_tokens, rope));
  }
}

/// All cached rows as float32 [S, padded width].
std::vector<float> cache_rows(const LatentCache& cache) {
  const std::int64_t width = cache.rows.dim(1);
  const std::int64_t stride = pad_for_kernels(width);
  const cpu::RowReader reader(cache.rows, width);
  std::vector<float> rows(static_cast<std::size_t>(cache.num_tokens * stride));
  for (std::int64_t token = 0; token < cache.num_tokens; ++token) reader.read(token, rows.data() + token * stride);
  return rows;
}

}  // namespace

Tensor flash_mla_prefill(const Tensor& q, const Tensor& k_nope, const Tensor& v, const LatentCache& cache, const FlashMlaConfig& cfg) {
  Device& device = device_of(q, "flash_mla_prefill");
  log_operator(device, "flash_mla_prefill", [&] { return fmt::format("naive q {} context {}", to_string(q.shape()), cache.num_tokens); });
  check_form(cfg, MlaForm::naive, "flash_mla_prefill");
  check_prefill(q, k_nope, v, cache);
  const std::int64_t num_queries = q.dim(0);
  const std::int64_t heads = q.dim(1);
  const std::int64_t v_dim = v.dim(2);
  Tensor y = Tensor::empty({num_queries, heads, v_dim}, cfg.dtype, &device);  // [T, n, dv]
  const cpu::RowReader read_q(q, q.dim(2));
  const cpu::RowWriter writer(y, v_dim);
  device.team().parallel_for(static_cast<std::size_t>(heads), 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scores;
    std::vector<float> query(static_cast<std::size_t>(pad_for_kernels(q.dim(2))));
    std::vector<float> out(static_cast<std::size_t>(v_dim));
    for (auto head_idx = static_cast<std::int64_t>(begin); head_idx < static_cast<std::int64_t>(end); ++head_idx) {
      const HeadKeys head = gather_head(k_nope, v, cache, head_idx);
      const cpu::KeysAndValues kv = {head.keys.data(), static_cast<std::int64_t>(query.size()), head.values.data(), v_dim, v_dim};
      for (std::int64_t query_idx = 0; query_idx < num_queries; ++query_idx) {
        read_q.read(query_idx * heads + head_idx, query.data());
        cpu::attend(query.data(), kv, cache.num_tokens - num_queries + query_idx + 1, cfg.scale, scores, out.data());
        writer.write(query_idx * heads + head_idx, out.data());
      }
    }
  });
  return y;
}

Tensor flash_mla_decode(const Tensor& q_latent, const Tensor& q, const LatentCache& cache, const FlashMlaConfig& cfg) {
  Device& device = device_of(q_latent, "flash_mla_decode");
  log_operator(device, "flash_mla_decode", [&] { return fmt::format("absorbed q {} context {}", to_string(q_latent.shape()), cache.num_tokens); });
  check_form(cfg, MlaForm::absorbed, "flash_mla_decode");
  const std::int64_t rank = cache.kv_lora_rank;
  const std::int64_t width = cache.rows.dim(1);
  const std::int64_t rope = width - rank;
  const bool fits = q_latent.rank() == 3 && q.rank() == 3 && q_latent.dim(0) == q.dim(0) && q_latent.dim(1) == q.dim(1) && q_latent.dim(2) == rank &&
                    q.dim(2) >= rope && q.dim(0) <= cache.num_tokens;
  if (!fits) {
    throw ShapeError(fmt::format("[flash_mla_decode] q_latent is {} and q {} with {} cached tokens of {} + {} values; expected [T, n, {}] and [T, n, dn + {}]",
                                 to_string(q_latent.shape()), to_string(q.shape()), cache.num_tokens, rank, rope, rank, rope));
  }
  const std::int64_t num_queries = q.dim(0);
  const std::int64_t heads = q.dim(1);
  Tensor y = Tensor::empty({num_queries, heads, rank}, cfg.dtype, &device);  // [T, n, r]
  const std::vector<float> rows = cache_rows(cache);
  const std::int64_t stride = pad_for_kernels(width);
  const cpu::KeysAndValues kv = {rows.data(), stride, rows.data(), stride, rank};
  const cpu::RowReader read_latent(q_latent, rank);
  const cpu::RowReader read_q(q, q.dim(2));
  const cpu::RowWriter writer(y, rank);
  device.team().parallel_for(static_cast<std::size_t>(num_queries * heads), 1, [&](std::size_t begin, std::size_t end) {
    std::vector<float> scores;
    std::vector<float> query(static_cast<std::size_t>(stride));
    std::vector<float> whole(static_cast<std::size_t>(q.dim(2)));
    std::vector<float> out(static_cast<std::size_t>(rank));
    for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
      read_latent.read(row, query.data());
      read_q.read(row, whole.data());
      std::copy(whole.end() - rope, whole.end(), query.begin() + rank);
      cpu::attend(query.data(), kv, cache.num_tokens - num_queries + row / heads + 1, cfg.scale, scores, out.data());
      writer.write(row, out.data());
    }
  });
  return y;
}

}  // namespace meshseek

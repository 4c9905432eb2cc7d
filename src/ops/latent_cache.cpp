#include <fmt/format.h>

#include "ops/capture.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/flash_mla.hpp"
#include "ops/memory.hpp"
#include "ops/operator_log.hpp"

namespace meshseek {

namespace {

/// \throws ShapeError, ConfigError, Error: what does not fit, before anything is written
void check(const LatentCache& cache, std::int64_t num_tokens, const Tensor& c_kv, const Tensor& k_rope, std::int64_t num_caches,
           const UpdateCacheConfig& cfg) {
  if (cache.rows.rank() != 2)
    throw ShapeError(fmt::format("[update_cache] the cache is {}; expected [capacity, values]", to_string(cache.rows.shape())));
  const std::int64_t rank = cache.kv_lora_rank;
  const std::int64_t width = cache.rows.dim(1);
  if (c_kv.rank() != 2 || c_kv.dim(1) != rank || k_rope.volume() != c_kv.dim(0) * (width - rank)) {
    throw ShapeError(fmt::format("[update_cache] c_kv is {} and k_rope {}; the cache holds {} + {} values a token", to_string(c_kv.shape()),
                                 to_string(k_rope.shape()), rank, width - rank));
  }
  if (num_tokens * num_caches != c_kv.dim(0)) {
    throw ShapeError(fmt::format("[update_cache] c_kv is {} for {} sequences; expected equally many rows for each", to_string(c_kv.shape()),
                                 num_caches));
  }
  if (cache.rows.dtype() != cfg.dtype) {
    throw ConfigError(fmt::format("[update_cache] the config says {} but the cache is {}; prefill and decode configs must agree",
                                  to_string(cfg.dtype), to_string(cache.rows.dtype())));
  }
  if (cache.num_tokens + num_tokens > cache.rows.dim(0)) {
    throw Error(fmt::format("[update_cache] the cache holds {} tokens; {} and {} more do not fit", cache.rows.dim(0), cache.num_tokens,
                            num_tokens));
  }
}

}  // namespace

void update_cache(LatentCaches caches, const Tensor& c_kv, const Tensor& k_rope, const UpdateCacheConfig& cfg) {
  const LatentCache& first = *caches.front();
  const RecordedCall call(c_kv, "update_cache", cfg, [&](CallValues& in) {
    only_sequence(caches.size(), "update_cache");
    in.add("c_kv", c_kv).add("k_rope", k_rope).add("num_tokens", first.num_tokens).add("width", first.rows.dim(1));
  });
  Device& device = device_of(c_kv, "update_cache");
  log_operator(device, "update_cache", [&] { return fmt::format("c_kv {} at {}", to_string(c_kv.shape()), first.num_tokens); });
  const auto num_caches = static_cast<std::int64_t>(caches.size());
  const std::int64_t num_tokens = c_kv.dim(0) / num_caches;  // of each
  for (const LatentCache* cache : caches) check(*cache, num_tokens, c_kv, k_rope, num_caches, cfg);
  const std::int64_t rank = first.kv_lora_rank;
  const std::int64_t width = first.rows.dim(1);
  const cpu::RowReader read_latent(c_kv, rank);
  const cpu::RowReader read_key(k_rope, width - rank);
  const Scratch<float> line(width, device);
  std::int64_t row = 0;
  for (LatentCache* cache : caches) {
    const cpu::RowWriter writer(cache->rows, width);
    for (std::int64_t token = 0; token < num_tokens; ++token, ++row) {
      read_latent.read(row, line.data());
      read_key.read(row, line.data() + rank);
      writer.write(cache->num_tokens + token, line.data());
    }
    cache->num_tokens += num_tokens;
  }
  call.finish([&](CallValues& out) { out.add("rows", first.rows.slice_rows(first.num_tokens - num_tokens, first.num_tokens)); });
}

void update_cache(LatentCache& cache, const Tensor& c_kv, const Tensor& k_rope, const UpdateCacheConfig& cfg) {
  LatentCache* one = &cache;
  update_cache(LatentCaches(&one, 1), c_kv, k_rope, cfg);
}

Tensor cached_latents(const LatentCache& cache, DataType dtype) {
  const RecordedCall call(cache.rows, "cached_latents", [&](CallValues& in) {
    in.add("cache", cache.rows.slice_rows(0, cache.num_tokens)).add("kv_lora_rank", cache.kv_lora_rank).add("dtype", dtype);
  });
  Device& device = device_of(cache.rows, "cached_latents");
  log_operator(device, "cached_latents",
               [&] { return fmt::format("cache {} tokens {}", to_string(cache.rows.shape()), cache.num_tokens); });
  Tensor y = make_result({cache.num_tokens, 1, cache.kv_lora_rank}, dtype, device);  // [S, 1, r]
  const cpu::RowReader reader(cache.rows, cache.rows.dim(1));
  const cpu::RowWriter writer(y, cache.kv_lora_rank);
  const Scratch<float> line(cache.rows.dim(1), device);
  for (std::int64_t token = 0; token < cache.num_tokens; ++token) {
    reader.read(token, line.data());
    writer.write(token, line.data());
  }
  return call.result(std::move(y));
}

}  // namespace meshseek

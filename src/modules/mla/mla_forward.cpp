#include <fmt/format.h>

#include <utility>

#include "base/error.hpp"
#include "mesh/shards.hpp"
#include "modules/mla/mla.hpp"
#include "ops/concat.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Mla::Mla(const HfConfig& hf, const MeshDevice& mesh)
    : num_heads_(column_piece(hf.num_attention_heads, mesh.shape, 1)),
      nope_dim_(hf.qk_nope_head_dim),
      rope_dim_(hf.qk_rope_head_dim),
      v_dim_(hf.v_head_dim),
      kv_lora_rank_(hf.kv_lora_rank),
      norm_(hf, mesh),
      rope_(hf, mesh) {}

LatentCache Mla::create_state(const HfConfig& hf, const Config& cfg, std::int64_t capacity, Device& device) {
  return {.rows = Tensor::zeros({capacity, hf.kv_lora_rank + hf.qk_rope_head_dim}, cfg.update_cache.dtype, &device),
          .kv_lora_rank = hf.kv_lora_rank};
}

Mla::Latents Mla::latents(Tensor kv, const Config& cfg, const RopeTables& tables) const {
  const std::int64_t num_tokens = kv.dim(0);
  Tensor latent = slice_columns(kv, 0, kv_lora_rank_);                       // [T, r]
  Tensor key = slice_columns(kv, kv_lora_rank_, kv_lora_rank_ + rope_dim_);  // [T, dr], not normalised
  kv.deallocate();
  Tensor c_kv = norm_.forward(latent, cfg.kv_norm);                                          // [T, r]
  Tensor k_rope = rope_.forward(key.reshape({num_tokens, 1, rope_dim_}), tables, cfg.rope);  // [T, 1, dr]
  return {std::move(c_kv), std::move(k_rope)};
}

Tensor Mla::queries(Tensor x, const Config& cfg, const RopeTables& tables) const {
  const std::int64_t num_tokens = x.dim(0);
  Tensor q;  // [T, n * (dn + dr)]
  if (cfg.wq) {
    q = linear(x, *cfg.wq);
  } else {
    Tensor normed = norm_.forward(x, *cfg.q_norm);  // [T, q_lora_rank]
    x.deallocate();
    q = linear(normed, *cfg.wq_b);
  }
  return rope_.forward(q.reshape({num_tokens, num_heads_, nope_dim_ + rope_dim_}), tables, cfg.rope);  // [T, n, dn + dr]
}

Tensor Mla::attend_naive(const Tensor& q, const Config& cfg, LatentCaches caches) const {
  if (caches.size() != 1) {
    throw ConfigError(
        fmt::format("[mla] flash_mla.form naive for {} sequences at once; expected one sequence, or the absorbed form (the decode config)",
                    caches.size()));
  }
  const LatentCache& cache = *caches.front();
  Tensor latents = cached_latents(cache, q.dtype());  // [S, 1, r]
  Tensor k_nope = linear(latents, cfg.wkv_b1);        // [S, n, dn]
  Tensor v = linear(latents, cfg.wkv_b2);             // [S, n, dv]
  latents.deallocate();
  return flash_mla_prefill(q, k_nope, v, cache, cfg.flash_mla);  // [T, n, dv]
}

Tensor Mla::attend_absorbed(const Tensor& q, const Config& cfg, LatentCaches caches) const {
  Tensor q_nope = slice_columns(q, 0, nope_dim_);  // [T, n, dn]
  Tensor q_latent = linear(q_nope, cfg.wkv_b1);    // [T, n, r]
  q_nope.deallocate();
  Tensor o_latent = flash_mla_decode(q_latent, q, caches, cfg.flash_mla);  // [T, n, r]
  q_latent.deallocate();
  return linear(o_latent, cfg.wkv_b2);  // [T, n, dv]
}

Tensor Mla::attend(const Tensor& q, const Config& cfg, LatentCaches caches) const {
  const Tensor heads = cfg.flash_mla.form == MlaForm::naive ? attend_naive(q, cfg, caches) : attend_absorbed(q, cfg, caches);  // [T, n, dv]
  return heads.reshape({q.dim(0), num_heads_ * v_dim_});
}

Tensor Mla::forward(const Tensor& x, const Config& cfg, const RopeTables& tables, LatentCaches caches) const {
  {
    const Latents more = latents(linear(x, cfg.wkv_a), cfg, tables);  // [T, r], [T, 1, dr]
    update_cache(caches, more.c_kv, more.k_rope, cfg.update_cache);
  }
  Tensor q = queries(cfg.wq ? x : linear(x, *cfg.wq_a), cfg, tables);  // [T, n, dn + dr]
  Tensor heads = attend(q, cfg, caches);                               // [T, n * dv]
  q.deallocate();
  return linear(heads, cfg.wo);  // [T, hidden_size]
}

}  // namespace meshseek

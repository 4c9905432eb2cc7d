#include "modules/mla_1d/mla_1d.hpp"
#include "ops/collectives.hpp"

namespace meshseek {

Mla1d::Mla1d(const HfConfig& hf, const MeshDevice& mesh)
    : q_lora_rank_(hf.q_lora_rank), kv_dim_(hf.kv_lora_rank + hf.qk_rope_head_dim), columns_(hf, mesh), mla_(hf, mesh) {}

Tensor Mla1d::forward(const Tensor& x, const Mla::Config& mla, const Config& cfg, const RopeTables& tables, LatentCaches caches) const {
  {
    const Tensor kv = columns_.product(x, mla.wkv_a, kv_dim_, cfg.all_reduce, cfg.gather_outputs);  // [T, r + dr]
    const Mla::Latents more = mla_.latents(kv, mla, tables);                                        // [T, r], [T, 1, dr]
    update_cache(caches, more.c_kv, more.k_rope, mla.update_cache);
  }
  const Tensor latent = mla.wq ? columns_.whole(x, cfg.all_gather)                                                  // [T, hidden_size]
                               : columns_.product(x, *mla.wq_a, q_lora_rank_, cfg.all_reduce, cfg.gather_outputs);  // [T, q_lora_rank]
  const Tensor q = mla_.queries(latent, mla, tables);                                                               // [T, n, dn + dr]
  const Tensor heads = mla_.attend(q, mla, caches);                                                                 // [T, n * dv]
  return columns_.product_piece(heads, mla.wo, cfg.reduce_scatter, cfg.gather_heads);                               // [T, piece]
}

}  // namespace meshseek

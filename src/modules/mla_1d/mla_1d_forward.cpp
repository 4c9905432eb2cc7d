#include "modules/mla_1d/mla_1d.hpp"
#include "ops/collectives.hpp"

namespace meshseek {

Tensor Mla1d::forward(const Tensor& x, const Mla::Config& mla, const Config& cfg, const RopeTables& tables, LatentCaches caches) const {
  {
    const Tensor kv = all_reduce(columns_.term(x, mla.wkv_a), cfg.all_reduce);  // [T, r + dr]
    const Mla::Latents more = mla_.latents(kv, mla, tables);                    // [T, r], [T, 1, dr]
    update_cache(caches, more.c_kv, more.k_rope, mla.update_cache);
  }
  const Tensor latent = mla.wq ? columns_.whole(x, *cfg.all_gather)                        // [T, hidden_size]
                               : all_reduce(columns_.term(x, *mla.wq_a), cfg.all_reduce);  // [T, q_lora_rank]
  const Tensor q = mla_.queries(latent, mla, tables);                                      // [T, n, dn + dr]
  const Tensor heads = mla_.attend(q, mla, caches);                                        // [T, n * dv]
  return columns_.sum(columns_.term(heads, mla.wo), cfg.reduce_scatter);                   // [T, piece]
}

}  // namespace meshseek

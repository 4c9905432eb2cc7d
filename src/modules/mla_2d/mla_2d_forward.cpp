#include <utility>

#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "mesh/shards.hpp"
#include "modules/mla_2d/mla_2d.hpp"
#include "ops/collectives.hpp"
#include "ops/concat.hpp"
#include "ops/linear.hpp"

namespace meshseek {
namespace {

/// Which of a row's tokens are whose, over the columns.
struct UsersOfColumns {
  std::vector<std::int64_t> order = {};       ///< the row's tokens, column by column of their owners
  std::vector<std::int64_t> places = {};      ///< of each token in `order`
  std::vector<std::int64_t> counts = {};      ///< tokens by column
  std::vector<std::int64_t> own_tokens = {};  ///< those of this column
  std::vector<LatentCache*> own_caches = {};
};

UsersOfColumns users_of_columns(LatentCaches caches, std::int64_t num_tokens, const MeshShape& mesh, std::int64_t own_col) {
  UsersOfColumns users = {.places = std::vector<std::int64_t>(static_cast<std::size_t>(num_tokens)),
                          .counts = std::vector<std::int64_t>(static_cast<std::size_t>(mesh.cols))};
  const std::int64_t per_user = caches.empty() ? 0 : num_tokens / static_cast<std::int64_t>(caches.size());
  for (std::int64_t col = 0; col < mesh.cols; ++col) {
    for (std::size_t user = 0; user < caches.size(); ++user) {
      if (caches[user]->owner % mesh.cols != col) continue;
      if (col == own_col) users.own_caches.push_back(caches[user]);
      users.counts[static_cast<std::size_t>(col)] += per_user;
      for (std::int64_t idx = 0; idx < per_user; ++idx) {
        const std::int64_t token = static_cast<std::int64_t>(user) * per_user + idx;
        users.places[static_cast<std::size_t>(token)] = static_cast<std::int64_t>(users.order.size());
        users.order.push_back(token);
        if (col == own_col) users.own_tokens.push_back(token);
      }
    }
  }
  return users;
}

/// Order that turns [a, b] into [b, a].
std::vector<std::int64_t> transposed(std::int64_t a, std::int64_t b) {
  std::vector<std::int64_t> order;
  for (std::int64_t outer = 0; outer < b; ++outer) {
    for (std::int64_t inner = 0; inner < a; ++inner) order.push_back(inner * b + outer);
  }
  return order;
}

}  // namespace

Mla2d::Mla2d(const HfConfig& hf, const MeshDevice& mesh)
    : mesh_(mesh.shape),
      num_heads_(column_piece(hf.num_attention_heads, mesh.shape, 1)),
      nope_dim_(hf.qk_nope_head_dim),
      rope_dim_(hf.qk_rope_head_dim),
      v_dim_(hf.v_head_dim),
      kv_lora_rank_(hf.kv_lora_rank),
      q_lora_rank_(hf.q_lora_rank),
      columns_(hf, mesh),
      mla_(hf, mesh) {}

Tensor Mla2d::attend_users(const Tensor& q, const Mla::Latents& latents, const Mla::Config& mla, const Config& cfg,
                           LatentCaches caches) const {
  const std::int64_t width = kv_lora_rank_ + rope_dim_;
  const UsersOfColumns users = users_of_columns(caches, q.dim(0), mesh_, q.device()->communicator().col());
  const auto num_own = static_cast<std::int64_t>(users.own_tokens.size());                                       // U
  const std::int64_t all_heads = mesh_.cols * num_heads_;                                                        // N
  const Tensor q_latent = linear(slice_columns(q, 0, nope_dim_), mla.wkv_b1);                                    // [T, n, r]
  const Tensor both = concat(q_latent, slice_columns(q, nope_dim_, nope_dim_ + rope_dim_), cfg.concat);          // [T, n, r + dr]
  const Tensor by_column = take_rows(both, users.order);                                                         // [T, n, r + dr]
  const Tensor received = all_to_all_rows(by_column, users.counts, cfg.heads_to_users).rows;                     // [C * U, n, r + dr]
  const Tensor own = take_rows(received, transposed(mesh_.cols, num_own)).reshape({num_own, all_heads, width});  // [U, N, r + dr]
  Tensor result = Tensor::empty({num_own, all_heads, kv_lora_rank_}, mla.flash_mla.dtype, q.device());           // [U, N, r]
  if (num_own > 0) {
    const LatentCaches own_caches = users.own_caches;
    update_cache(own_caches, take_rows(latents.c_kv, users.own_tokens), take_rows(latents.k_rope, users.own_tokens), mla.update_cache);
    result = flash_mla_decode(slice_columns(own, 0, kv_lora_rank_), slice_columns(own, kv_lora_rank_, width), own_caches, mla.flash_mla);
  }
  const Tensor by_heads = take_rows(result.reshape({num_own * mesh_.cols, num_heads_, kv_lora_rank_}), transposed(num_own, mesh_.cols));
  const std::vector<std::int64_t> back(static_cast<std::size_t>(mesh_.cols), num_own);
  const Tensor of_columns = all_to_all_rows(by_heads, back, cfg.users_to_heads).rows;  // [T, n, r], column by column of the owners
  return linear(take_rows(of_columns, users.places), mla.wkv_b2);                      // [T, n, dv]
}

/// The sequence's cache on this device while it attends: its own, or a copy of the owner's with room for what is new.
LatentCache Mla2d::with_past(LatentCache& cache, const Tensor& latents, const Mla::Config& mla, const Config& cfg) const {
  const std::int64_t num_past = cache.num_tokens;
  const std::int64_t width = kv_lora_rank_ + rope_dim_;
  Device& device = *latents.device();
  const bool is_owner = cache.owner == device.communicator().rank();
  Tensor past =
      is_owner ? cache.rows.slice_rows(0, num_past) : Tensor::empty({num_past, width}, mla.update_cache.dtype, &device);  // [S, r + dr]
  if (num_past > 0) {
    BroadcastConfig from_owner = cfg.broadcast_past;
    from_owner.root = cache.owner;
    past = broadcast(past, from_owner);
  }
  if (is_owner) return cache;
  LatentCache copy = {.rows = Tensor::empty({num_past + latents.dim(0), width}, mla.update_cache.dtype, &device),  // [S + T, r + dr]
                      .num_tokens = num_past,
                      .kv_lora_rank = kv_lora_rank_,
                      .owner = cache.owner};
  if (num_past > 0) {
    copy.num_tokens = 0;
    const Tensor c_kv = slice_columns(past, 0, kv_lora_rank_);  // [S, r]
    update_cache(copy, c_kv, slice_columns(past, kv_lora_rank_, width), mla.update_cache);
  }
  return copy;
}

Tensor Mla2d::attend_sequence(const Tensor& q, const Mla::Latents& latents, const Mla::Config& mla, const Config& cfg,
                              LatentCache& cache) const {
  const Tensor c_kv = all_gather(latents.c_kv, cfg.gather_latents);      // [all T, r]
  const Tensor k_rope = all_gather(latents.k_rope, cfg.gather_latents);  // [all T, 1, dr]
  LatentCache here = with_past(cache, c_kv, mla, cfg);
  const std::int64_t num_past = here.num_tokens;
  update_cache(here, c_kv, k_rope, mla.update_cache);
  if (q.dim(0) == 0) return Tensor::empty({0, num_heads_, v_dim_}, mla.flash_mla.dtype, q.device());
  // Its last token is the row's last one, whatever later rows have.
  const std::int64_t row = q.device()->communicator().row();
  here.num_tokens = num_past + row * row_piece(c_kv.dim(0), mesh_) + q.dim(0);
  LatentCache* one = &here;
  return mla_.attend(q, mla, LatentCaches(&one, 1));  // [T, n * dv]
}

Tensor Mla2d::forward(const Tensor& x, const Mla::Config& mla, const Config& cfg, const RopeTables& tables, LatentCaches caches) const {
  const std::int64_t num_tokens = x.dim(0);
  const Tensor kv = columns_.product(x, mla.wkv_a, kv_lora_rank_ + rope_dim_, cfg.all_reduce, cfg.gather_outputs);  // [T, r + dr]
  const Mla::Latents latents = mla_.latents(kv, mla, tables);                                                       // [T, r], [T, 1, dr]
  const Tensor low = mla.wq ? columns_.whole(x, cfg.all_gather)                                                     // [T, hidden_size]
                            : columns_.product(x, *mla.wq_a, q_lora_rank_, cfg.all_reduce, cfg.gather_outputs);     // [T, q_lora_rank]
  const Tensor q = mla_.queries(low, mla, tables);                                                                  // [T, n, dn + dr]
  const Tensor heads = mla.flash_mla.form == MlaForm::absorbed ? attend_users(q, latents, mla, cfg, caches)
                                                               : attend_sequence(q, latents, mla, cfg, *caches.front());  // [T, n * dv]
  return columns_.product_piece(heads.reshape({num_tokens, num_heads_ * v_dim_}), mla.wo, cfg.reduce_scatter,
                                cfg.gather_heads);  // [T, piece]
}

}  // namespace meshseek

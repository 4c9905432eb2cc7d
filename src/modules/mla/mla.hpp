/// Multi-head latent attention.
#pragma once
#include <optional>

#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/rms_norm/rms_norm.hpp"
#include "modules/rope/rope.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/flash_mla.hpp"
#include "ops/linear_config.hpp"

namespace meshseek {

/// Queries from a low-rank latent (or directly), keys and values from a latent of kv_lora_rank values that is all the cache holds, next to one rotated
/// key shared by the heads. n = num_attention_heads (on a mesh: those of a column), dn / dr = qk_nope / qk_rope_head_dim, dv = v_head_dim,
/// r = kv_lora_rank.
///
/// naive: k_nope = c_kv wkv_b1^T, v = c_kv wkv_b2^T, ordinary attention. absorbed: q_nope wkv_b1 meets c_kv directly, and wkv_b2 follows the attention.
/// Both give the same result; `flash_mla.form` chooses. Source: DeepSeek-V2, arXiv:2405.04434; DeepSeek-V3 inference/model.py.
class Mla {
 public:
  struct Config {
    std::optional<LinearConfig> wq = {};       ///< q_proj [n (dn + dr), hidden]; without q_lora_rank
    std::optional<LinearConfig> wq_a = {};     ///< q_a_proj [q_lora_rank, hidden]
    std::optional<RmsNormConfig> q_norm = {};  ///< q_a_layernorm [q_lora_rank]
    std::optional<LinearConfig> wq_b = {};     ///< q_b_proj [n (dn + dr), q_lora_rank]
    LinearConfig wkv_a = {};                   ///< kv_a_proj_with_mqa [r + dr, hidden]
    RmsNormConfig kv_norm = {};                ///< kv_a_layernorm [r]
    RotaryEmbeddingConfig rope = {};
    UpdateCacheConfig update_cache = {};
    LinearConfig wkv_b1 = {};  ///< key half of kv_b_proj [n, dn, r]
    LinearConfig wkv_b2 = {};  ///< value half of kv_b_proj [n, dv, r]
    FlashMlaConfig flash_mla = {};
    LinearConfig wo = {};  ///< o_proj [hidden, n dv]

    static constexpr auto fields() {
      return std::tuple{field("wq", &Config::wq, "query projection, without q_lora_rank"),
                        field("wq_a", &Config::wq_a, "query down-projection"),
                        field("q_norm", &Config::q_norm, "norm of the query latent"),
                        field("wq_b", &Config::wq_b, "query up-projection"),
                        field("wkv_a", &Config::wkv_a, "latent and shared rope key"),
                        field("kv_norm", &Config::kv_norm, "norm of the latent"),
                        field("rope", &Config::rope, "rotates the rope parts of queries and key"),
                        field("update_cache", &Config::update_cache, "appends to the latent cache"),
                        field("wkv_b1", &Config::wkv_b1, "key half of kv_b_proj, per head"),
                        field("wkv_b2", &Config::wkv_b2, "value half of kv_b_proj, per head"),
                        field("flash_mla", &Config::flash_mla, "attention"),
                        field("wo", &Config::wo, "output projection")};
    }
  };

  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  /// The naive form: cheaper than the absorbed one when many tokens share the expansion of the latents.
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  /// The absorbed form: reads each cached row once for all heads.
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Mla(const HfConfig& hf, const MeshDevice& mesh);
  /// An empty cache of `capacity` tokens on `device`: capacity * (r + dr) values.
  static LatentCache create_state(const HfConfig& hf, const Config& cfg, std::int64_t capacity, Device& device);

  /// Appends T tokens to the caches of their sequences; each row attends to its own.
  /// \param x [T, hidden_size], already normed; \param tables RoPE of the T positions  \return [T, hidden_size]
  Tensor forward(const Tensor& x, const Config& cfg, const RopeTables& tables, LatentCaches caches) const;

  // The parts of forward(), for modules that put collectives between them.

  /// What one token adds to the cache.
  struct Latents {
    Tensor c_kv = {};    ///< [T, r], normalised
    Tensor k_rope = {};  ///< [T, 1, dr], rotated
  };
  /// \param kv [T, r + dr], x wkv_a
  Latents latents(Tensor kv, const Config& cfg, const RopeTables& tables) const;
  /// \param x [T, q_lora_rank], x wq_a; without q_lora_rank [T, hidden_size], the module's input  \return [T, n, dn + dr]
  Tensor queries(Tensor x, const Config& cfg, const RopeTables& tables) const;
  /// \param q [T, n, dn + dr]  \return [T, n * dv], input of wo
  Tensor attend(const Tensor& q, const Config& cfg, LatentCaches caches) const;

 private:
  Tensor attend_naive(const Tensor& q, const Config& cfg, LatentCaches caches) const;
  Tensor attend_absorbed(const Tensor& q, const Config& cfg, LatentCaches caches) const;

  std::int64_t num_heads_;
  std::int64_t nope_dim_;
  std::int64_t rope_dim_;
  std::int64_t v_dim_;
  std::int64_t kv_lora_rank_;
  RmsNorm norm_;
  Rope rope_;
};

}  // namespace meshseek

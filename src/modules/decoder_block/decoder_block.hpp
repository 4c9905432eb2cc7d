/// One pre-norm decoder layer.
#pragma once
#include <optional>

#include "modules/distributed_rms_norm/distributed_rms_norm.hpp"
#include "modules/mla/mla.hpp"
#include "modules/mla_1d/mla_1d.hpp"
#include "modules/mla_2d/mla_2d.hpp"
#include "modules/mlp/mlp.hpp"
#include "modules/mlp_1d/mlp_1d.hpp"
#include "modules/moe/moe.hpp"
#include "modules/moe_1d/moe_1d.hpp"
#include "modules/moe_ep/moe_ep.hpp"
#include "modules/rms_norm/rms_norm.hpp"

namespace meshseek {

/// h <- h + Mla(norm(h)); h <- h + Ffn(norm(h)). A dense layer has `mlp`, a mixture-of-experts layer has `moe`, never both.
///
/// On a mesh the config has, beside the operators of this device's part, the collectives of the module that joins the parts: `mla` runs in
/// `mla_1d` or `mla_2d`, `mlp` in `mlp_1d`, `moe` in `moe_1d` or `moe_ep`, both norms in `distributed_rms_norm`. Weights have the same names on every mesh.
class DecoderBlock {
 public:
  struct Config {
    RmsNormConfig input_layernorm = {};
    Mla::Config mla = {};
    BinaryConfig mla_residual = {};
    RmsNormConfig post_attention_layernorm = {};
    std::optional<Mlp::Config> mlp = {};
    std::optional<Moe::Config> moe = {};
    BinaryConfig ffn_residual = {};
    std::optional<DistributedRmsNorm::Config> distributed_rms_norm = {};
    std::optional<Mla1d::Config> mla_1d = {};  ///< one row
    std::optional<Mla2d::Config> mla_2d = {};  ///< several rows
    std::optional<Mlp1d::Config> mlp_1d = {};
    std::optional<Moe1d::Config> moe_1d = {};  ///< one row
    std::optional<MoeEp::Config> moe_ep = {};  ///< several rows

    static constexpr auto fields() {
      return std::tuple{field("input_layernorm", &Config::input_layernorm, "norm before the attention"),
                        field("mla", &Config::mla, "attention"),
                        field("mla_residual", &Config::mla_residual, "adds the attention to the residual stream"),
                        field("post_attention_layernorm", &Config::post_attention_layernorm, "norm before the feed-forward block"),
                        field("mlp", &Config::mlp, "dense feed-forward block"),
                        field("moe", &Config::moe, "mixture of experts"),
                        field("ffn_residual", &Config::ffn_residual, "adds the feed-forward block to the residual stream"),
                        field("distributed_rms_norm", &Config::distributed_rms_norm, "both norms, over the columns of a mesh"),
                        field("mla_1d", &Config::mla_1d, "joins the columns of a mesh of one row around `mla`"),
                        field("mla_2d", &Config::mla_2d, "joins the devices of a mesh of several rows around `mla`"),
                        field("mlp_1d", &Config::mlp_1d, "joins the columns of a mesh around `mlp`"),
                        field("moe_1d", &Config::moe_1d, "joins the columns of a mesh of one row around `moe`"),
                        field("moe_ep", &Config::moe_ep, "joins the devices of a mesh of several rows around `moe`")};
    }
  };

  /// \param is_moe whether the layer is a mixture of experts (HfConfig::is_moe_layer)
  static WeightConfig convert_weights(const HfConfig& hf, bool is_moe, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, bool is_moe, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, bool is_moe, const MeshDevice& mesh);
  DecoderBlock(const HfConfig& hf, const MeshDevice& mesh);

  enum class Rows { all, last, none };  ///< for which tokens the feed-forward block runs; none: the last one is on another row of the mesh
  struct Output {
    Tensor h = {};  ///< [T or 1 or 0, hidden_size], the residual stream of the rows that were asked for; on a mesh this column's piece
    std::optional<Routing> routing = {};
  };
  /// \param h [T, hidden_size], the residual stream
  /// \param rows last: nobody asks for the others, whose keys and values are cached all the same (the last layer of a prompt)
  Output forward(const Tensor& h, const Config& cfg, const RopeTables& tables, LatentCaches caches, Rows rows = Rows::all) const;

 private:
  Tensor normed(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const;
  Tensor attention(const Tensor& x, const Config& cfg, const RopeTables& tables, LatentCaches caches) const;
  Moe::Output mixture(const Tensor& x, const Config& cfg) const;

  RmsNorm norm_;
  Mla mla_;
  Mlp mlp_;
  Moe moe_;
  DistributedRmsNorm distributed_rms_norm_;
  Mla1d mla_1d_;
  Mla2d mla_2d_;
  Mlp1d mlp_1d_;
  Moe1d moe_1d_;
  MoeEp moe_ep_;
};

}  // namespace meshseek

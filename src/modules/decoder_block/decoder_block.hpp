/// One pre-norm decoder layer.
#pragma once
#include <optional>

#include "modules/mla/mla.hpp"
#include "modules/mlp/mlp.hpp"
#include "modules/moe/moe.hpp"
#include "modules/rms_norm/rms_norm.hpp"

namespace meshseek {

/// h <- h + Mla(norm(h)); h <- h + Ffn(norm(h)). A dense layer has `mlp`, a mixture-of-experts layer has `moe`, never both.
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

    static constexpr auto fields() {
      return std::tuple{field("input_layernorm", &Config::input_layernorm, "norm before the attention"),
                        field("mla", &Config::mla, "attention"),
                        field("mla_residual", &Config::mla_residual, "adds the attention to the residual stream"),
                        field("post_attention_layernorm", &Config::post_attention_layernorm, "norm before the feed-forward block"),
                        field("mlp", &Config::mlp, "dense feed-forward block"),
                        field("moe", &Config::moe, "mixture of experts"),
                        field("ffn_residual", &Config::ffn_residual, "adds the feed-forward block to the residual stream")};
    }
  };

  /// \param is_moe whether the layer is a mixture of experts (HfConfig::is_moe_layer)
  static WeightConfig convert_weights(const HfConfig& hf, bool is_moe, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, bool is_moe, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, bool is_moe, const MeshDevice& mesh);
  DecoderBlock(const HfConfig& hf, const MeshDevice& mesh);

  enum class Rows { all, last };  ///< for which tokens the feed-forward block runs
  struct Output {
    Tensor h = {};  ///< [T, hidden_size], the residual stream; [1, hidden_size] with Rows::last
    std::optional<Routing> routing = {};
  };
  /// \param h [T, hidden_size], the residual stream
  /// \param rows last: nobody asks for the others, whose keys and values are cached all the same (the last layer of a prompt)
  Output forward(const Tensor& h, const Config& cfg, const RopeTables& tables, LatentCaches caches, Rows rows = Rows::all) const;

 private:
  RmsNorm norm_;
  Mla mla_;
  Mlp mlp_;
  Moe moe_;
};

}  // namespace meshseek

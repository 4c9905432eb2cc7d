/// Multi-token prediction: one extra layer that predicts the token after the next.
#pragma once
#include "modules/decoder_block/decoder_block.hpp"
#include "modules/embedding/embedding.hpp"
#include "modules/lm_head/lm_head.hpp"
#include "modules/lm_head_1d/lm_head_1d.hpp"
#include "ops/concat_config.hpp"

namespace meshseek {

/// Which hidden state of the main model feeds the module. Sources disagree; transformers and the trained checkpoints use post_norm.
enum class HiddenSource : std::uint8_t { post_norm, pre_norm };
constexpr auto enum_names(HiddenSource) {
  return std::array<std::pair<HiddenSource, std::string_view>, 2>{
      {{HiddenSource::post_norm, "post_norm"}, {HiddenSource::pre_norm, "pre_norm"}}};
}

/// Row i: u = [enorm(embedding(token i+1)) | hnorm(hidden i)] eh_proj^T, one decoder block with a cache of its own, norm, head.
/// The embedding comes first in the concatenation. Source: DeepSeek-V3 README_WEIGHTS.md; arXiv:2412.19437, 2.2.
class Mtp {
 public:
  struct Config {
    HiddenSource hidden_source = HiddenSource::post_norm;
    EmbeddingConfig embedding = {};
    RmsNormConfig enorm = {};
    RmsNormConfig hnorm = {};
    ConcatConfig concat = {};
    LinearConfig eh_proj = {};  ///< [hidden_size, 2 hidden_size]; each column of a mesh has its outputs
    DecoderBlock::Config block = {};
    RmsNormConfig norm = {};  ///< shared_head.norm
    LinearConfig lm_head = {};
    std::optional<DistributedRmsNorm::Config> distributed_rms_norm = {};
    std::optional<AllGatherConfig> all_gather = {};
    std::optional<LmHead1d::Config> lm_head_1d = {};

    static constexpr auto fields() {
      return std::tuple{
          field("hidden_source", &Config::hidden_source, "hidden state after (post_norm) or before (pre_norm) the final norm"),
          field("embedding", &Config::embedding, "embedding of the next token"),
          field("enorm", &Config::enorm, "norm of the embedding"),
          field("hnorm", &Config::hnorm, "norm of the hidden state"),
          field("concat", &Config::concat, "embedding first"),
          field("eh_proj", &Config::eh_proj, "joins both halves"),
          field("block", &Config::block, "decoder layer"),
          field("norm", &Config::norm, "norm before the head"),
          field("lm_head", &Config::lm_head, "output projection"),
          field("distributed_rms_norm", &Config::distributed_rms_norm, "the three norms, over the columns of a mesh"),
          field("all_gather", &Config::all_gather,
                "whole tokens for eh_proj, of the pieces that the columns of a mesh have; deterministic: norms give them"),
          field("lm_head_1d", &Config::lm_head_1d, "joins the columns of a mesh around `lm_head`")};
    }
  };

  /// Own copies of embedding and head are written only when the checkpoint has them; otherwise the entries name the main model's files.
  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh, const WeightConfig& main_model);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Mtp(const HfConfig& hf, const MeshDevice& mesh);

  struct Output {
    Tensor logits = {};  ///< [T, vocab_size]: row i predicts token i+2
    Tensor h = {};       ///< [T, hidden_size], before `norm`
  };
  /// \param hidden [T, hidden_size] of the main model at positions i (see hidden_source); \param next_ids [T] tokens at i+1
  /// \param tables RoPE of the positions i
  Output forward(const Tensor& hidden, const Tensor& next_ids, const Config& cfg, const RopeTables& tables, LatentCache& cache) const;

 private:
  Tensor normed(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const;
  Tensor half(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const;

  Embedding embedding_;
  RmsNorm norm_;
  DecoderBlock block_;
  LmHead lm_head_;
  ColumnSplit columns_;
  DistributedRmsNorm distributed_rms_norm_;
  LmHead1d lm_head_1d_;
};

}  // namespace meshseek

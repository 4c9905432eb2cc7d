/// The whole model: embedding, decoder layers, final norm, head, and the MTP modules behind them.
#pragma once
#include <cstdint>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/mode.hpp"
#include "mesh/parallel_plan.hpp"
#include "modules/decoder_block/decoder_block.hpp"
#include "modules/distributed_rms_norm/distributed_rms_norm.hpp"
#include "modules/embedding/embedding.hpp"
#include "modules/lm_head/lm_head.hpp"
#include "modules/lm_head_1d/lm_head_1d.hpp"
#include "modules/mtp/mtp.hpp"
#include "modules/pipeline/pipeline.hpp"
#include "modules/rms_norm/rms_norm.hpp"
#include "modules/row_split/row_split.hpp"

namespace meshseek {

class Model {
 public:
  struct Config {
    Mode mode = Mode::prefill;  ///< from the head of the model config; for readers and logs, no forward looks at it
    EmbeddingConfig embedding = {};
    std::vector<DecoderBlock::Config> layers = {};
    RmsNormConfig norm = {};
    LinearConfig lm_head = {};
    std::vector<Mtp::Config> mtp = {};  ///< num_nextn_predict_layers modules
    std::optional<DistributedRmsNorm::Config> distributed_rms_norm = {};
    std::optional<LmHead1d::Config> lm_head_1d = {};
    std::optional<RowSplit::Config> row_split = {};  ///< several rows, plan users
    std::optional<Pipeline::Config> pipeline = {};   ///< several rows, plan pipeline

    static constexpr auto fields() {
      return std::tuple{field("embedding", &Config::embedding, "token embedding"),
                        field("layers", &Config::layers, "decoder layers"),
                        field("norm", &Config::norm, "final norm"),
                        field("lm_head", &Config::lm_head, "output projection"),
                        field("mtp", &Config::mtp, "multi-token prediction modules"),
                        field("distributed_rms_norm", &Config::distributed_rms_norm, "final norm, over the columns of a mesh"),
                        field("lm_head_1d", &Config::lm_head_1d, "joins the columns of a mesh around `lm_head`"),
                        field("row_split", &Config::row_split, "which tokens belong to which row of a mesh"),
                        field("pipeline", &Config::pipeline, "which layers belong to which row of a mesh")};
    }
  };

  /// What changes between calls: one latent cache per layer and per MTP module. On a mesh every device has a state of every sequence; where the
  /// config has row_split only its owner has rows in the caches, with pipeline a row has them for its own layers.
  struct State {
    std::vector<LatentCache> layers = {};
    std::vector<LatentCache> mtp = {};
    std::int64_t num_tokens() const { return layers.empty() ? 0 : layers.front().num_tokens; }
    std::int64_t owner() const { return layers.empty() ? 0 : layers.front().owner; }
  };

  /// Converts every tensor the model uses; layer entries carry {layer} in their paths, equal layers are not folded yet.
  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh, ParallelPlan plan = ParallelPlan::users);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh, ParallelPlan plan = ParallelPlan::users);
  Model(const HfConfig& hf, const MeshDevice& mesh, ParallelPlan plan = ParallelPlan::users)
      : Model(hf, weight_mesh(mesh, plan), Pipeline(hf, mesh)) {}
  /// \param owner with row_split: rank of the device that keeps the latents
  static State create_state(const HfConfig& hf, const Config& cfg, std::int64_t capacity, Device& device, std::int64_t owner = 0);

  /// Parts of the config, as "model.layers.3", whose weights the devices of `row` do not have: other rows do; MTP modules, which several rows do
  /// not run, nobody. \param cfg Pipeline::check() has passed it
  std::vector<std::string> parts_elsewhere(const Pipeline::Config& cfg, std::int64_t row) const;

  /// For which positions the head runs. last: nor does the last layer's feed-forward block for the others, and the hidden states are the last token's.
  enum class Logits { all, last, none };

  /// Intermediate results for inspection; filled when a trace is passed: on a mesh by all devices or none, and whole on the first row.
  struct Trace {
    std::vector<Tensor> hidden = {};                   ///< [0] the embedding, [i + 1] the residual stream after layer i; [T, hidden_size]
    std::vector<std::optional<Routing>> routing = {};  ///< by layer; empty for dense layers
  };

  struct Output {
    Tensor logits =
        {};  ///< [T or 1, vocab_size] float32; no storage with Logits::none; on a mesh whole on the first row, elsewhere no rows
    Tensor pre_norm = {};   ///< [T or 1, hidden_size], before the final norm; on a mesh this device's part, in a pipeline on the last row
    Tensor post_norm = {};  ///< [T or 1, hidden_size], after it; the same
  };

  /// Runs T tokens and appends them to the caches: row t belongs to sequence t / (T / B), whose positions go on at its num_tokens().
  /// On a mesh every device calls it with the same ids and its states of the same sequences.
  /// \param ids [T] uint32; \param states of B sequences; several want the absorbed form and Logits::all
  Output forward(const Tensor& ids, const Config& cfg, std::span<State* const> states, Logits logits, Trace* trace = nullptr) const;

  /// MTP module `module_idx`: row i sees hidden state i of `main` and token i+1. Positions continue the module's own cache.
  Mtp::Output forward_mtp(std::size_t module_idx, const Output& main, const Tensor& next_ids, const Config& cfg, State& state) const;

 private:
  /// \param part weight_mesh(): what all modules but the pipeline know of the mesh
  Model(const HfConfig& hf, const MeshDevice& part, const Pipeline& pipeline);

  /// One call's tokens: all of them, and those that this device runs.
  struct Share {
    std::vector<std::vector<std::int64_t>> of_rows = {};   ///< tokens of each row of the mesh; empty without row_split
    std::pmr::vector<std::int64_t> positions = {};         ///< of this device's tokens
    std::pmr::vector<State*> states = {};                  ///< of their sequences
    std::pmr::vector<std::int64_t> num_tokens_after = {};  ///< of all sequences of the call, with row_split or pipeline
    Tensor ids = {};                                       ///< [T of this device]
    bool has_last = true;                                  ///< the last token is among them
    Pipeline::Stage stage = {};                            ///< what this device runs of the model
  };
  Share share_of(const Tensor& ids, const Config& cfg, std::span<State* const> states) const;
  static Share chunk_of(const Share& share, std::int64_t begin, std::int64_t end);
  /// What all rows of the mesh have, on the first row.
  Tensor collected(Tensor x, const Config& cfg, const Share& share, bool only_last) const;
  Tensor run_layers(Tensor h, const Config& cfg, const Share& share, Logits logits, Trace* trace) const;
  Tensor whole(const Tensor& h, const Config& cfg) const;
  void add_to(Trace& trace, const Tensor& h, std::optional<Routing> routing, const Config& cfg, const Share& share, bool only_last) const;
  void add_from_rows(Trace& trace, Device& device, const Config& cfg, const Share& share) const;
  Output finish(Tensor h, const Config& cfg, const Share& share, Logits logits) const;

  Embedding embedding_;
  Rope rope_;
  DecoderBlock block_;
  RmsNorm norm_;
  LmHead lm_head_;
  Mtp mtp_;
  DistributedRmsNorm distributed_rms_norm_;
  LmHead1d lm_head_1d_;
  RowSplit row_split_;
  Pipeline pipeline_;
  ColumnSplit columns_;
};

}  // namespace meshseek

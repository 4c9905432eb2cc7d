/// The whole model: embedding, decoder layers, final norm, head, and the MTP modules behind them.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "config/mode.hpp"
#include "modules/decoder_block/decoder_block.hpp"
#include "modules/embedding/embedding.hpp"
#include "modules/lm_head/lm_head.hpp"
#include "modules/mtp/mtp.hpp"
#include "modules/rms_norm/rms_norm.hpp"

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

    static constexpr auto fields() {
      return std::tuple{field("embedding", &Config::embedding, "token embedding"), field("layers", &Config::layers, "decoder layers"),
                        field("norm", &Config::norm, "final norm"), field("lm_head", &Config::lm_head, "output projection"),
                        field("mtp", &Config::mtp, "multi-token prediction modules")};
    }
  };

  /// What changes between calls: one latent cache per layer and per MTP module.
  struct State {
    std::vector<LatentCache> layers = {};
    std::vector<LatentCache> mtp = {};
    std::int64_t num_tokens() const { return layers.empty() ? 0 : layers.front().num_tokens; }
  };

  /// Converts every tensor the model uses; layer entries carry {layer} in their paths, equal layers are not folded yet.
  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Model(const HfConfig& hf, const MeshDevice& mesh);
  static State create_state(const HfConfig& hf, const Config& cfg, std::int64_t capacity, Device& device);

  /// For which positions the head runs. last: nor does the last layer's feed-forward block for the others, and the hidden states are the last token's.
  enum class Logits { all, last, none };

  /// Intermediate results for inspection; filled when a trace is passed.
  struct Trace {
    std::vector<Tensor> hidden = {};                   ///< [0] the embedding, [i + 1] the residual stream after layer i; [T, hidden_size]
    std::vector<std::optional<Routing>> routing = {};  ///< by layer; empty for dense layers
  };

  struct Output {
    Tensor logits = {};     ///< [T or 1, vocab_size] float32; no storage with Logits::none
    Tensor pre_norm = {};   ///< [T or 1, hidden_size], before the final norm
    Tensor post_norm = {};  ///< [T or 1, hidden_size], after it
  };

  /// Runs T tokens and appends them to the caches: row t belongs to sequence t / (T / B), whose positions go on at its num_tokens().
  /// \param ids [T] uint32; \param states of B sequences; several want the absorbed form and Logits::all
  Output forward(const Tensor& ids, const Config& cfg, std::span<State* const> states, Logits logits, Trace* trace = nullptr) const;

  /// MTP module `module_idx`: row i sees hidden state i of `main` and token i+1. Positions continue the module's own cache.
  Mtp::Output forward_mtp(std::size_t module_idx, const Output& main, const Tensor& next_ids, const Config& cfg, State& state) const;

 private:
  Embedding embedding_;
  Rope rope_;
  DecoderBlock block_;
  RmsNorm norm_;
  LmHead lm_head_;
  Mtp mtp_;
};

}  // namespace meshseek

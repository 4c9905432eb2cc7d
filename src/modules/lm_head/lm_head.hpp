/// The output projection.
#pragma once
#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/linear_config.hpp"

namespace meshseek {

/// logits = x W^T in float32, no bias. With tied embeddings W is the embedding table.
class LmHead {
 public:
  using Config = LinearConfig;

  /// \param state_dict the place of a `weight` [vocab_size, hidden_size]: lm_head, model.embed_tokens when tied, or an MTP layer's own copy
  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  LmHead(const HfConfig&, const MeshDevice&) {}
  /// \param x [T, hidden_size]  \return [T, vocab_size] float32
  Tensor forward(const Tensor& x, const Config& cfg) const;
};

}  // namespace meshseek

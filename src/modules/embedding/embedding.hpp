/// Token embedding.
#pragma once
#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/embedding_config.hpp"

namespace meshseek {

/// Looks up one row of the embedding table per token. The residual stream starts here, in float32; each column of a mesh has its part of the
/// hidden size.
class Embedding {
 public:
  using Config = EmbeddingConfig;

  /// Writes `weight` [vocab_size, hidden_size] from `embed_tokens.weight`.
  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Embedding(const HfConfig&, const MeshDevice&) {}
  /// \param ids [T] uint32  \return [T, hidden_size]; on a mesh [T, column_piece(hidden_size)]
  Tensor forward(const Tensor& ids, const Config& cfg) const;
};

}  // namespace meshseek

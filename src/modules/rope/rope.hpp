/// Rotary position embedding.
#pragma once
#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/rotary_embedding.hpp"

namespace meshseek {

/// Rotates pairs of the rope part of queries and keys by position-dependent angles. It has no weights.
class Rope {
 public:
  using Config = RotaryEmbeddingConfig;

  /// There is nothing to convert: an empty weight config.
  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  /// Keeps the inverse frequencies (float64).
  Rope(const HfConfig& hf, const MeshDevice& mesh);

  /// Tables of the given positions; made once per call of the model and shared by its layers.
  RopeTables tables(std::span<const std::int64_t> positions, std::pmr::memory_resource& memory = *std::pmr::get_default_resource()) const;
  /// \param x [T, heads, dim], rotated in place in its last qk_rope_head_dim values
  Tensor forward(Tensor x, const RopeTables& tables, const Config& cfg) const;

 private:
  std::vector<double> inv_freq_;  ///< [qk_rope_head_dim / 2]
  double cos_sin_factor_ = 1.0;
};

}  // namespace meshseek

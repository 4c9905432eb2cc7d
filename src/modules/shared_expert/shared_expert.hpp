/// The experts that every token visits.
#pragma once
#include "modules/mlp/mlp.hpp"

namespace meshseek {

/// One gated block of width n_shared_experts * moe_intermediate_size; checkpoints store the shared experts fused.
class SharedExpert {
 public:
  using Config = Mlp::Config;

  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  SharedExpert(const HfConfig& hf, const MeshDevice& mesh) : mlp_(hf, mesh) {}
  /// \param x [T, hidden_size]  \return [T, hidden_size]
  Tensor forward(const Tensor& x, const Config& cfg) const;
  /// As Mlp::inner().
  Tensor inner(const Tensor& x, const Config& cfg) const;

 private:
  Mlp mlp_;
};

}  // namespace meshseek

/// Root-mean-square norm.
#pragma once
#include <string_view>

#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/rms_norm_config.hpp"

namespace meshseek {

/// y = x / sqrt(mean(x^2) + eps) * weight.
///
/// Block and final norms use `rms_norm_eps`; the latent norms of attention use 1e-6 whatever the config says, as Hugging Face does.
class RmsNorm {
 public:
  using Config = RmsNormConfig;
  static constexpr double kLatentEpsilon = 1e-6;  ///< of q_a_layernorm and kv_a_layernorm

  /// What distinguishes the norms of a model.
  struct Spec {
    std::int64_t dim = 0;
    double epsilon = 1e-6;
    bool feeds_products = false;  ///< large ones, which are LoFi in decode
  };

  /// Writes `weight` [dim] from `weight` of `state_dict`.
  static WeightConfig convert_weights(const Spec& spec, const StateDictView& state_dict, const WeightOutput& output, const MeshShape& mesh);
  static Config prefill_model_config(const Spec& spec, const MeshDevice& mesh);
  static Config decode_model_config(const Spec& spec, const MeshDevice& mesh);
  RmsNorm(const HfConfig&, const MeshDevice&) {}
  /// \param x [T, dim]  \return [T, dim]
  Tensor forward(const Tensor& x, const Config& cfg) const;
};

}  // namespace meshseek

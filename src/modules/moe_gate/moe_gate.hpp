/// The router of a mixture-of-experts layer.
#pragma once
#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/linear_config.hpp"
#include "ops/router.hpp"

namespace meshseek {

/// logits = x W_g in float32, then the choice of num_experts_per_tok experts and their weights.
class MoeGate {
 public:
  struct Config {
    LinearConfig linear = {};  ///< [n_routed_experts, hidden_size], bfloat16 weights, always HiFi4
    RouterConfig router = {};

    static constexpr auto fields() {
      return std::tuple{field("linear", &Config::linear, "router logits"),
                        field("router", &Config::router, "choice and weights of experts")};
    }
  };

  /// Writes the router in bfloat16 and, for noaux_tc, e_score_correction_bias in float32. \throws Error when the bias is not finite.
  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  MoeGate(const HfConfig&, const MeshDevice&) {}
  /// \param x [T, hidden_size]  \return indices and weights [T, num_experts_per_tok]
  Routing forward(const Tensor& x, const Config& cfg) const;
};

}  // namespace meshseek

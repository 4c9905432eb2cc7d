/// Gated feed-forward block.
#pragma once
#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/binary_config.hpp"
#include "ops/linear_config.hpp"

namespace meshseek {

/// y = (silu(x w1) * (x w3)) w2, inner width hf.intermediate_size. Used by the dense layers.
class Mlp {
 public:
  struct Config {
    LinearConfig w1 = {};  ///< gate_proj [inner, hidden_size]
    LinearConfig w3 = {};  ///< up_proj [inner, hidden_size]
    MulConfig mul = {};
    LinearConfig w2 = {};  ///< down_proj [hidden_size, inner]

    static constexpr auto fields() {
      return std::tuple{field("w1", &Config::w1, "gate projection"), field("w3", &Config::w3, "up projection"),
                        field("mul", &Config::mul, "silu(gate) * up"), field("w2", &Config::w2, "down projection")};
    }
  };

  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Mlp(const HfConfig&, const MeshDevice&) {}
  /// \param x [T, hidden_size]  \return [T, hidden_size]
  Tensor forward(const Tensor& x, const Config& cfg) const;
  /// The part of forward() before w2. \param x [T, hidden_size]  \return [T, inner]
  Tensor inner(const Tensor& x, const Config& cfg) const;
};

/// The parts that every gated block has in common, for an inner width of choice (the shared expert's differs from the dense one's). Each column
/// of a mesh has its part of the inner width; its y is then one term of a sum over the columns, in float32. Deterministic: w2 has the whole inner
/// width and the column's outputs.
WeightConfig convert_gated_mlp(std::int64_t hidden_size, std::int64_t inner, const StateDictView& state_dict, const WeightOutput& output);
Mlp::Config prefill_gated_mlp_config(std::int64_t hidden_size, std::int64_t inner, const MeshDevice& mesh);
Mlp::Config decode_gated_mlp_config(std::int64_t hidden_size, std::int64_t inner, const MeshDevice& mesh);

}  // namespace meshseek

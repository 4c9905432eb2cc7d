/// The routed experts of one layer.
#pragma once
#include <cstdint>
#include <span>

#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "ops/binary_config.hpp"
#include "ops/linear_config.hpp"

namespace meshseek {

/// Gated blocks of width moe_intermediate_size, stacked in one file per projection: w1, w3 [E, inner, hidden_size], w2 [E, hidden_size, inner].
/// On a mesh of several rows E is what this device has room for; the last ones may be padding, without rows. On one row each column has its part of
/// every expert's inner width, and w2 gives terms of sums; deterministic: w2 has the whole inner width and the column's outputs.
class Experts {
 public:
  struct Config {
    LinearConfig w1 = {};
    LinearConfig w3 = {};
    MulConfig mul = {};
    LinearConfig w2 = {};

    static constexpr auto fields() {
      return std::tuple{field("w1", &Config::w1, "gate projections"), field("w3", &Config::w3, "up projections"),
                        field("mul", &Config::mul, "silu(gate) * up"), field("w2", &Config::w2, "down projections")};
    }
  };

  static WeightConfig convert_weights(const HfConfig& hf, const StateDictView& state_dict, const WeightOutput& output,
                                      const MeshShape& mesh);
  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Experts(const HfConfig&, const MeshDevice&) {}
  /// \param rows [R, hidden_size], grouped by expert; \param offsets [E + 1]  \return [R, hidden_size]
  Tensor forward(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg) const;
  /// The part of forward() before w2. \return [R, inner]
  Tensor inner(const Tensor& rows, std::span<const std::int64_t> offsets, const Config& cfg) const;
};

}  // namespace meshseek

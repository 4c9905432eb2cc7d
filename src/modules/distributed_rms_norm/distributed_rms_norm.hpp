/// Root-mean-square norm of tokens that lie in pieces on the columns of a mesh.
#pragma once
#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "ops/collectives_config.hpp"
#include "ops/rms_norm_config.hpp"

namespace meshseek {

/// What RmsNorm computes: each column sums the squares of its piece, all sums are gathered, each normalises its piece. The weights are
/// RmsNorm's, whole on each device; padding stays zero and does not count.
class DistributedRmsNorm {
 public:
  struct Config {
    AllGatherConfig all_gather = {};

    static constexpr auto fields() {
      return std::tuple{field("all_gather", &Config::all_gather, "sums of squares of the columns' pieces")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  DistributedRmsNorm(const HfConfig&, const MeshDevice&) {}
  /// \param x [T, piece of dim]; \param norm weight [dim]  \return [T, piece of dim]
  Tensor forward(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const;
};

}  // namespace meshseek

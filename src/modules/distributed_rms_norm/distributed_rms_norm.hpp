/// Root-mean-square norm of tokens that lie in pieces on the columns of a mesh.
#pragma once
#include <optional>

#include "modules/column_split/column_split.hpp"
#include "ops/rms_norm_config.hpp"

namespace meshseek {

/// What RmsNorm computes: each column sums the squares of its piece, all sums are gathered, each normalises its piece. Deterministic: whole tokens
/// are gathered, and each column normalises them as one device does. The weights are RmsNorm's, whole on each device; padding stays zero and does
/// not count.
class DistributedRmsNorm {
 public:
  struct Config {
    std::optional<AllGatherConfig> all_gather = {};
    std::optional<AllGatherConfig> gather_tokens = {};

    static constexpr auto fields() {
      return std::tuple{field("all_gather", &Config::all_gather, "sums of squares of the columns' pieces"),
                        field("gather_tokens", &Config::gather_tokens, "deterministic: whole tokens of the columns' pieces")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  DistributedRmsNorm(const HfConfig& hf, const MeshDevice& mesh) : columns_(hf, mesh) {}
  /// \param x [T, piece of hidden_size]; \param norm weight [hidden_size]  \return [T, piece of hidden_size]; deterministic: [T, hidden_size]
  Tensor forward(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const;

 private:
  ColumnSplit columns_;
};

}  // namespace meshseek

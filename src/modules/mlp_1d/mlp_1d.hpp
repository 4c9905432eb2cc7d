/// Gated feed-forward block over the columns of a mesh.
#pragma once
#include "modules/column_split/column_split.hpp"
#include "modules/mlp/mlp.hpp"

namespace meshseek {

/// Every column has its part of the inner width: whole tokens go in, the columns' results are terms of a sum. Deterministic: the inner values are
/// gathered, and every column has its outputs. The weights are Mlp's.
class Mlp1d {
 public:
  using Config = ColumnSplit::Config;

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Mlp1d(const HfConfig& hf, const MeshDevice& mesh) : columns_(hf, mesh), mlp_(hf, mesh) {}
  /// \param x [T, piece of hidden_size], deterministic [T, hidden_size]; \param mlp of this column's inner width  \return [T, piece of hidden_size]
  Tensor forward(const Tensor& x, const Mlp::Config& mlp, const Config& cfg) const;

 private:
  ColumnSplit columns_;
  Mlp mlp_;
};

}  // namespace meshseek

/// Mixture-of-experts feed-forward block over the columns of a mesh of one row.
#pragma once
#include "modules/column_split/column_split.hpp"
#include "modules/moe/moe.hpp"

namespace meshseek {

/// Every column has its part of the inner width of all experts: whatever the router chooses, all columns read and compute the same amount, and
/// as all columns have all tokens, nothing more is sent than with whole experts on each. Each adds up, in float32, what its parts of the routed and
/// of the shared experts give; the sum over the columns follows. Deterministic: the inner values are gathered, and every column has its outputs.
/// The weights are Moe's; every column has the router.
class Moe1d {
 public:
  using Config = ColumnSplit::Config;

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Moe1d(const HfConfig& hf, const MeshDevice& mesh);
  /// \param x [T, piece of hidden_size], deterministic [T, hidden_size]; \param moe with this column's inner widths
  /// \return y [T, piece of hidden_size], and the routing, equal on all columns
  Moe::Output forward(const Tensor& x, const Moe::Config& moe, const Config& cfg) const;

 private:
  std::int64_t num_experts_;
  ColumnSplit columns_;
  MoeGate gate_;
  Experts experts_;
  SharedExpert shared_expert_;
};

}  // namespace meshseek

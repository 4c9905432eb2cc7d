#include "modules/mlp_1d/mlp_1d.hpp"

namespace meshseek {

Tensor Mlp1d::forward(const Tensor& x, const Mlp::Config& mlp, const Config& cfg) const {
  const Tensor tokens = columns_.whole(x, cfg.all_gather);  // [T, hidden_size]
  const Tensor term = mlp_.forward(tokens, mlp);            // [T, hidden_size]
  return columns_.sum(term, cfg.reduce_scatter);            // [T, piece]
}

}  // namespace meshseek

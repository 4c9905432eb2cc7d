#include "modules/mlp_1d/mlp_1d.hpp"

namespace meshseek {

Tensor Mlp1d::forward(const Tensor& x, const Mlp::Config& mlp, const Config& cfg) const {
  const Tensor tokens = columns_.whole(x, cfg.all_gather);                             // [T, hidden_size]
  const Tensor inner = mlp_.inner(tokens, mlp);                                        // [T, inner of this column]
  return columns_.product_piece(inner, mlp.w2, cfg.reduce_scatter, cfg.gather_inner);  // [T, piece]
}

}  // namespace meshseek

#include "modules/shared_expert/shared_expert.hpp"

namespace meshseek {

Tensor SharedExpert::forward(const Tensor& x, const Config& cfg) const {
  return mlp_.forward(x, cfg);  // [T, hidden_size]
}

Tensor SharedExpert::inner(const Tensor& x, const Config& cfg) const {
  return mlp_.inner(x, cfg);  // [T, inner]
}

}  // namespace meshseek

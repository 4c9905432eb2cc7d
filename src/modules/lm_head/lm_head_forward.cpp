#include "modules/lm_head/lm_head.hpp"
#include "ops/linear.hpp"

namespace meshseek {

Tensor LmHead::forward(const Tensor& x, const Config& cfg) const {
  return linear(x, cfg);  // [T, vocab_size]
}

}  // namespace meshseek

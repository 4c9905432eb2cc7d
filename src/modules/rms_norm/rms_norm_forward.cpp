#include "modules/rms_norm/rms_norm.hpp"
#include "ops/rms_norm.hpp"

namespace meshseek {

Tensor RmsNorm::forward(const Tensor& x, const Config& cfg) const {
  return rms_norm(x, cfg);  // [T, dim]
}

}  // namespace meshseek

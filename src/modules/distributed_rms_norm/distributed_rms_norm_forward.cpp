#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "modules/distributed_rms_norm/distributed_rms_norm.hpp"
#include "ops/collectives.hpp"
#include "ops/rms_norm.hpp"

namespace meshseek {

Tensor DistributedRmsNorm::forward(const Tensor& x, const RmsNormConfig& norm, const Config& cfg) const {
  if (cfg.gather_tokens) return rms_norm(columns_.whole(x, cfg.gather_tokens), norm);
  const Tensor own = rms_norm_pre_all_gather(x);            // [T, 1]
  const Tensor squares = all_gather(own, *cfg.all_gather);  // [T, C]
  return rms_norm_post_all_gather(x, squares, x.device()->communicator().col() * x.dim(-1), norm);
}

}  // namespace meshseek

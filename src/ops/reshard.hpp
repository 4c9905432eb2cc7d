/// Moves an activation to other memory, to other cores or to another element type.
#pragma once
#include "ops/reshard_config.hpp"

namespace meshseek {

/// A copy of x [.., n] (float32 or bfloat16) as cfg says: into L1 or main memory, each core copying its piece. Rounds to nearest even for bfloat16.
Tensor reshard(const Tensor& x, const ReshardConfig& cfg);

}  // namespace meshseek

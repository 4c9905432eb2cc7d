/// Every operator config there is, for what concerns them all: the generated reference and the tests.
#pragma once
#include <tuple>

#include "ops/binary_config.hpp"
#include "ops/collectives_config.hpp"
#include "ops/concat_config.hpp"
#include "ops/embedding_config.hpp"
#include "ops/flash_mla_config.hpp"
#include "ops/linear_config.hpp"
#include "ops/reshard_config.hpp"
#include "ops/rms_norm_config.hpp"
#include "ops/rotary_embedding_config.hpp"
#include "ops/router_config.hpp"
#include "ops/topk_config.hpp"

namespace meshseek {

using AllOperatorConfigs =
    std::tuple<LinearConfig, MulConfig, BinaryConfig, RmsNormConfig, EmbeddingConfig, RotaryEmbeddingConfig, FlashMlaConfig,
               UpdateCacheConfig, RouterConfig, TopKConfig, MoeDispatchConfig, MoeCombineConfig, ConcatConfig, ReshardConfig,
               AllReduceConfig, AllGatherConfig, ReduceScatterConfig, AllToAllConfig, AllToAllRowsConfig,
               BroadcastConfig, SendConfig, RecvConfig, MeshPartitionConfig>;

}  // namespace meshseek

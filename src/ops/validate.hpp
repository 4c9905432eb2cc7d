/// Checks of operator configs by themselves: a field that would do nothing, or that nothing can do, is refused when the run config is made.
#pragma once
#include <string_view>

#include "ops/binary_config.hpp"
#include "ops/collectives_config.hpp"
#include "ops/concat_config.hpp"
#include "ops/embedding_config.hpp"
#include "ops/flash_mla_config.hpp"
#include "ops/linear_config.hpp"
#include "ops/reshard_config.hpp"
#include "ops/rms_norm_config.hpp"
#include "ops/router_config.hpp"
#include "ops/topk_config.hpp"

namespace meshseek {

/// \param where dotted path of the operator, or its name. \throws ConfigError "[where.field] what was given; what is expected, what to do".
/// An operator type of one's own takes part by a function of this name in its own namespace.
void validate(const LinearConfig& cfg, std::string_view where);
void validate(const MulConfig& cfg, std::string_view where);
void validate(const BinaryConfig& cfg, std::string_view where);
void validate(const RmsNormConfig& cfg, std::string_view where);
void validate(const EmbeddingConfig& cfg, std::string_view where);
void validate(const FlashMlaConfig& cfg, std::string_view where);
void validate(const MoeDispatchConfig& cfg, std::string_view where);
void validate(const MoeCombineConfig& cfg, std::string_view where);
void validate(const RouterConfig& cfg, std::string_view where);
void validate(const TopKConfig& cfg, std::string_view where);
void validate(const ConcatConfig& cfg, std::string_view where);
void validate(const ReshardConfig& cfg, std::string_view where);
void validate(const AllReduceConfig& cfg, std::string_view where);
void validate(const AllGatherConfig& cfg, std::string_view where);
void validate(const ReduceScatterConfig& cfg, std::string_view where);
void validate(const AllToAllConfig& cfg, std::string_view where);
void validate(const AllToAllRowsConfig& cfg, std::string_view where);
void validate(const BroadcastConfig& cfg, std::string_view where);
void validate(const SendConfig& cfg, std::string_view where);
void validate(const RecvConfig& cfg, std::string_view where);
void validate(const MeshPartitionConfig& cfg, std::string_view where);

void validate(const ComputeKernelConfig& compute, std::string_view where);

/// Which memory layouts an operator can give its result.
struct AllowedLayouts {
  bool height_sharded = false;
  bool width_sharded = false;
  bool block_sharded = false;
};
void validate(const MemoryConfig& memory_config, AllowedLayouts allowed, std::string_view where);

}  // namespace meshseek

/// Collectives: operators that join the devices along one axis of the mesh.
///
/// A mesh axis of one device is all that runs so far: each result is then the input itself, without a copy and without traffic. A longer axis is refused.
#pragma once
#include "mesh/mesh_shape.hpp"
#include "ops/collectives_config.hpp"

namespace meshseek {

/// \param x [.., n], the device's share  \throws Error when the axis has several devices; ConfigError for a config that cannot be
Tensor all_reduce(const Tensor& x, const AllReduceConfig& cfg, const MeshShape& mesh);
Tensor all_gather(const Tensor& x, const AllGatherConfig& cfg, const MeshShape& mesh);
Tensor reduce_scatter(const Tensor& x, const ReduceScatterConfig& cfg, const MeshShape& mesh);
Tensor all_to_all(const Tensor& x, const AllToAllConfig& cfg, const MeshShape& mesh);
Tensor mesh_partition(const Tensor& x, const MeshPartitionConfig& cfg, const MeshShape& mesh);

}  // namespace meshseek

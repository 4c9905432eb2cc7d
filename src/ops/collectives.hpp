/// Collectives: operators that join the devices along one axis of the mesh.
///
/// Every device of the group calls the same operator at the same place with its own tensor; the mesh is that of the tensor's device. On an
/// axis of one device each returns its input, without a copy and without traffic. Results never depend on timing, and sums are in float32
/// in the order of the devices (Ring and Linear: in an order that the place in the tensor decides). All devices get the same bits where
/// they get the same thing, whatever the wire. Tensors are row-major; sums, and a `dtype` other than x's, need float32 or bfloat16. Tensors
/// without rows are as good as others.
///
/// \throws ConfigError for a config that cannot be; ShapeError for a tensor that does not fit; MeshError when another device failed
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "mesh/device.hpp"
#include "ops/collectives_config.hpp"

namespace meshseek {

/// Sums of at most so many bytes each device makes for itself, from what all send (topology Direct, plain wire): one exchange is quicker than two.
inline constexpr std::int64_t kMostWholeBytes = 64 * 1024;

/// \param x equal shape on all devices \return the sum
Tensor all_reduce(const Tensor& x, const AllReduceConfig& cfg);

/// \param x [.., d, ..], equal on all devices but for d when cfg.uneven \return [.., sum of d, ..] in the order of the devices
Tensor all_gather(const Tensor& x, const AllGatherConfig& cfg);

/// \param x [.., n * d, ..], equal shape on all devices \return [.., d, ..]: this device's slice of the sum
Tensor reduce_scatter(const Tensor& x, const ReduceScatterConfig& cfg);

/// Heads to users and back. \param x [.., i, .., n * o, ..] with i along in_dim and n * o along out_dim \return [.., n * i, .., o, ..]
Tensor all_to_all(const Tensor& x, const AllToAllConfig& cfg);

struct ReceivedRows {
  Tensor rows = {};                               ///< [sum of receive_counts, ..] in the order of the senders
  std::vector<std::int64_t> receive_counts = {};  ///< by position of the sender along the axis
};
/// \param x [T, ..], rows grouped by destination; \param send_counts of rows, by position along the axis, adding up to T, zero allowed
ReceivedRows all_to_all_rows(const Tensor& x, std::span<const std::int64_t> send_counts, const AllToAllRowsConfig& cfg);

/// \param x equal shape and type on all devices; only the root's values matter \return the root's
Tensor broadcast(const Tensor& x, const BroadcastConfig& cfg);

/// Returns when x may be changed. The receiver learns shape and type from the message.
void send(const Tensor& x, const SendConfig& cfg);
Tensor recv(Device& device, const RecvConfig& cfg);

/// Returns when all devices of the mesh have come here.
void barrier(Device& device);

/// \param x [.., n * d, ..], the same on all devices \return [.., d, ..]: this device's slice, without traffic
Tensor mesh_partition(const Tensor& x, const MeshPartitionConfig& cfg);

}  // namespace meshseek

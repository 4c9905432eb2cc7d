/// Configs of the collectives: operators that join the devices along one axis of the mesh.
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

/// In which order the devices pass data on.
enum class Topology : std::uint8_t { Ring, Linear };
constexpr auto enum_names(Topology) {
  return std::array<std::pair<Topology, std::string_view>, 2>{{{Topology::Ring, "Ring"}, {Topology::Linear, "Linear"}}};
}

/// Sum over the devices of an axis; every device gets all of it.
struct AllReduceConfig {
  static constexpr std::string_view kOp = "AllReduce";

  std::int64_t cluster_axis = 0;
  Topology topology = Topology::Ring;
  std::optional<DataType> dtype = {};
  std::int64_t dim = -1;
  std::int64_t num_reduce_scatter_links = 1;
  std::int64_t num_all_gather_links = 1;
  bool use_composite = true;

  static constexpr auto fields() {
    using Self = AllReduceConfig;
    return std::tuple{
        field("cluster_axis", &Self::cluster_axis, "mesh axis whose devices take part: 0 the rows, 1 the columns"),
        field("topology", &Self::topology, "Ring or Linear order of the devices"),
        field("dtype", &Self::dtype, "element type on the wire; unset: x's"),
        field("dim", &Self::dim, "dimension of x that is cut up on the way: -1"),
        field("num_reduce_scatter_links", &Self::num_reduce_scatter_links, "chunks in flight in the first half"),
        field("num_all_gather_links", &Self::num_all_gather_links, "chunks in flight in the second half"),
        field("use_composite", &Self::use_composite, "reduce_scatter followed by all_gather, else one exchange of everything")};
  }
};

/// Concatenation over the devices of an axis.
struct AllGatherConfig {
  static constexpr std::string_view kOp = "AllGather";

  std::int64_t cluster_axis = 0;
  Topology topology = Topology::Ring;
  std::int64_t dim = -1;
  std::int64_t num_links = 1;

  static constexpr auto fields() {
    using Self = AllGatherConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, "mesh axis whose devices take part: 0 the rows, 1 the columns"),
                      field("topology", &Self::topology, "Ring or Linear order of the devices"),
                      field("dim", &Self::dim, "dimension that grows: -1"), field("num_links", &Self::num_links, "chunks in flight")};
  }
};

/// Sum over the devices of an axis; every device gets its slice.
struct ReduceScatterConfig {
  static constexpr std::string_view kOp = "ReduceScatter";

  std::int64_t cluster_axis = 0;
  Topology topology = Topology::Ring;
  std::optional<DataType> dtype = {};
  std::int64_t dim = -1;
  std::int64_t num_links = 1;

  static constexpr auto fields() {
    using Self = ReduceScatterConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, "mesh axis whose devices take part: 0 the rows, 1 the columns"),
                      field("topology", &Self::topology, "Ring or Linear order of the devices"),
                      field("dtype", &Self::dtype, "element type on the wire; unset: x's"),
                      field("dim", &Self::dim, "dimension that is shared out: -1"),
                      field("num_links", &Self::num_links, "chunks in flight")};
  }
};

/// Every device sends a slice of one dimension to each other and joins what it gets along another.
struct AllToAllConfig {
  static constexpr std::string_view kOp = "AllToAll";

  std::int64_t cluster_axis = 0;
  Topology topology = Topology::Ring;
  std::int64_t in_dim = 0;
  std::int64_t out_dim = -1;
  std::int64_t num_links = 1;

  static constexpr auto fields() {
    using Self = AllToAllConfig;
    return std::tuple{
        field("cluster_axis", &Self::cluster_axis, "mesh axis whose devices take part: 0 the rows, 1 the columns"),
        field("topology", &Self::topology, "Ring or Linear order of the devices"), field("in_dim", &Self::in_dim, "dimension that grows"),
        field("out_dim", &Self::out_dim, "dimension that is shared out"), field("num_links", &Self::num_links, "chunks in flight")};
  }
};

/// A device's own slice of what all devices have; no traffic.
struct MeshPartitionConfig {
  static constexpr std::string_view kOp = "MeshPartition";

  std::int64_t cluster_axis = 0;
  std::int64_t dim = -1;

  static constexpr auto fields() {
    using Self = MeshPartitionConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, "mesh axis along which the slices lie: 0 the rows, 1 the columns"),
                      field("dim", &Self::dim, "dimension that is cut: -1")};
  }
};

}  // namespace meshseek

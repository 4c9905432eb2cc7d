/// Configs of the collectives: operators that join the devices along one axis of the mesh.
#pragma once
#include "ops/common_config.hpp"

namespace meshseek {

/// In which order the devices pass data on.
enum class Topology : std::uint8_t {
  Ring,    ///< each to the next, the last to the first
  Linear,  ///< each to its neighbours; the ends have one
  Direct   ///< each to each; inside one process the others' memory is read where it lies
};
constexpr auto enum_names(Topology) {
  return std::array<std::pair<Topology, std::string_view>, 3>{
      {{Topology::Ring, "Ring"}, {Topology::Linear, "Linear"}, {Topology::Direct, "Direct"}}};
}

inline constexpr std::string_view kClusterAxisHelp = "the devices that take part: 0 those of my column, 1 those of my row, unset: all";
inline constexpr std::string_view kTopologyHelp = "Ring or Linear order of the devices, or Direct: each to each";
inline constexpr std::string_view kWireHelp = "element type on the wire: float32, bfloat16 or bfloat8_b; unset: x's";

/// Sum over the devices of an axis; every device gets all of it.
struct AllReduceConfig {
  static constexpr std::string_view kOp = "AllReduce";

  std::optional<std::int64_t> cluster_axis = {};
  Topology topology = Topology::Direct;
  std::optional<DataType> dtype = {};
  std::int64_t dim = -1;
  std::int64_t num_reduce_scatter_links = 1;
  std::int64_t num_all_gather_links = 1;
  bool use_composite = true;

  static constexpr auto fields() {
    using Self = AllReduceConfig;
    return std::tuple{
        field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp),
        field("topology", &Self::topology, kTopologyHelp),
        field("dtype", &Self::dtype, kWireHelp),
        field("dim", &Self::dim, "dimension of x that is cut up on the way: -1"),
        field("num_reduce_scatter_links", &Self::num_reduce_scatter_links, "chunks in flight in the first half"),
        field("num_all_gather_links", &Self::num_all_gather_links, "chunks in flight in the second half"),
        field("use_composite", &Self::use_composite, "reduce_scatter followed by all_gather, else one exchange of everything")};
  }
};

/// Concatenation over the devices of an axis.
struct AllGatherConfig {
  static constexpr std::string_view kOp = "AllGather";

  std::optional<std::int64_t> cluster_axis = {};
  Topology topology = Topology::Direct;
  std::optional<DataType> dtype = {};
  std::int64_t dim = -1;
  bool uneven = false;
  std::int64_t num_links = 1;

  static constexpr auto fields() {
    using Self = AllGatherConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp),
                      field("topology", &Self::topology, kTopologyHelp),
                      field("dtype", &Self::dtype, kWireHelp),
                      field("dim", &Self::dim, "dimension that grows"),
                      field("uneven", &Self::uneven, "the devices' sizes along dim may differ; they are exchanged first"),
                      field("num_links", &Self::num_links, "chunks in flight")};
  }
};

/// Sum over the devices of an axis; every device gets its slice.
struct ReduceScatterConfig {
  static constexpr std::string_view kOp = "ReduceScatter";

  std::optional<std::int64_t> cluster_axis = {};
  Topology topology = Topology::Direct;
  std::optional<DataType> dtype = {};
  std::int64_t dim = -1;
  std::int64_t num_links = 1;

  static constexpr auto fields() {
    using Self = ReduceScatterConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp), field("topology", &Self::topology, kTopologyHelp),
                      field("dtype", &Self::dtype, kWireHelp), field("dim", &Self::dim, "dimension that is shared out"),
                      field("num_links", &Self::num_links, "chunks in flight")};
  }
};

/// Every device sends a slice of one dimension to each other and joins what it gets along another.
struct AllToAllConfig {
  static constexpr std::string_view kOp = "AllToAll";

  std::optional<std::int64_t> cluster_axis = {};
  std::optional<DataType> dtype = {};
  std::int64_t in_dim = 0;
  std::int64_t out_dim = -1;

  static constexpr auto fields() {
    using Self = AllToAllConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp), field("dtype", &Self::dtype, kWireHelp),
                      field("in_dim", &Self::in_dim, "dimension that grows"),
                      field("out_dim", &Self::out_dim, "dimension that is shared out")};
  }
};

/// Every device sends some of its rows to each other, any number of them.
struct AllToAllRowsConfig {
  static constexpr std::string_view kOp = "AllToAllRows";

  std::optional<std::int64_t> cluster_axis = {};
  std::optional<DataType> dtype = {};

  static constexpr auto fields() {
    using Self = AllToAllRowsConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp), field("dtype", &Self::dtype, kWireHelp)};
  }
};

/// One device's tensor for all.
struct BroadcastConfig {
  static constexpr std::string_view kOp = "Broadcast";

  std::optional<std::int64_t> cluster_axis = {};
  Topology topology = Topology::Direct;
  std::optional<DataType> dtype = {};
  std::int64_t root = 0;
  std::int64_t num_links = 1;

  static constexpr auto fields() {
    using Self = BroadcastConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp), field("topology", &Self::topology, kTopologyHelp),
                      field("dtype", &Self::dtype, kWireHelp),
                      field("root", &Self::root, "position of the device that has it, counted along the axis"),
                      field("num_links", &Self::num_links, "chunks in flight")};
  }
};

/// One end of a message between two devices.
struct SendConfig {
  static constexpr std::string_view kOp = "Send";

  std::optional<std::int64_t> cluster_axis = {};
  std::optional<DataType> dtype = {};
  std::int64_t to = 0;

  static constexpr auto fields() {
    using Self = SendConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp), field("dtype", &Self::dtype, kWireHelp),
                      field("to", &Self::to, "position of the receiver, counted along the axis")};
  }
};

/// The other end.
struct RecvConfig {
  static constexpr std::string_view kOp = "Recv";

  std::optional<std::int64_t> cluster_axis = {};
  std::int64_t from = 0;

  static constexpr auto fields() {
    using Self = RecvConfig;
    return std::tuple{field("cluster_axis", &Self::cluster_axis, kClusterAxisHelp),
                      field("from", &Self::from, "position of the sender, counted along the axis")};
  }
};

/// A device's own slice of what all devices have; no traffic.
struct MeshPartitionConfig {
  static constexpr std::string_view kOp = "MeshPartition";

  std::optional<std::int64_t> cluster_axis = {};
  std::int64_t dim = -1;

  static constexpr auto fields() {
    using Self = MeshPartitionConfig;
    return std::tuple{
        field("cluster_axis", &Self::cluster_axis, "the devices whose slices lie side by side: 0 my column, 1 my row, unset: all"),
        field("dim", &Self::dim, "dimension that is cut")};
  }
};

}  // namespace meshseek

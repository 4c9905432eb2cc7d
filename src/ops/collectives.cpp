#include "ops/collectives.hpp"

#include <fmt/format.h>

#include "ops/capture.hpp"
#include "ops/operator_log.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

template <class Config>
Tensor on_one_device(const Tensor& x, const Config& cfg, const MeshShape& mesh, std::string_view op) {
  const RecordedCall call(x, op, cfg, [&](CallValues& in) { in.add("x", x).add("mesh_rows", mesh.rows).add("mesh_cols", mesh.cols); });
  validate(cfg, op);
  log_operator(device_of(x, op), op,
               [&] { return fmt::format("x {} axis {} of {}", to_string(x.shape()), cfg.cluster_axis, to_string(mesh)); });
  const std::int64_t num_devices = cfg.cluster_axis == 0 ? mesh.rows : mesh.cols;
  if (num_devices == 1) return call.result(x);
  throw Error(fmt::format("[{}] axis {} of mesh {} has {} devices, but only one runs so far; use a 1x1 mesh", op, cfg.cluster_axis,
                          to_string(mesh), num_devices));
}

}  // namespace

Tensor all_reduce(const Tensor& x, const AllReduceConfig& cfg, const MeshShape& mesh) { return on_one_device(x, cfg, mesh, "all_reduce"); }
Tensor all_gather(const Tensor& x, const AllGatherConfig& cfg, const MeshShape& mesh) { return on_one_device(x, cfg, mesh, "all_gather"); }
Tensor reduce_scatter(const Tensor& x, const ReduceScatterConfig& cfg, const MeshShape& mesh) {
  return on_one_device(x, cfg, mesh, "reduce_scatter");
}
Tensor all_to_all(const Tensor& x, const AllToAllConfig& cfg, const MeshShape& mesh) { return on_one_device(x, cfg, mesh, "all_to_all"); }
Tensor mesh_partition(const Tensor& x, const MeshPartitionConfig& cfg, const MeshShape& mesh) {
  return on_one_device(x, cfg, mesh, "mesh_partition");
}

}  // namespace meshseek

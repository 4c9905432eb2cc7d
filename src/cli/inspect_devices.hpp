/// `meshseek inspect --devices`: this machine, and where the devices of a mesh would run on it.
#pragma once
#include <string>

#include "config/tree.hpp"
#include "mesh/mesh_shape.hpp"
#include "mesh/placement.hpp"

namespace meshseek::cli {

struct DeviceReport {
  Machine machine = {};
  MeshShape mesh = {};
  Bind bind = Bind::none;
  std::vector<DevicePlace> places = {};  ///< by rank
};

/// \param bind unset: the standard one  \throws Error when the machine cannot be read
DeviceReport inspect_devices(const MeshShape& mesh, std::optional<Bind> bind, std::size_t num_threads);

std::string to_text(const DeviceReport& report);
/// {"machine": {"cores", "cpus", "nodes": [{"number", "bytes", "cpus"}]}, "mesh", "bind", "threads", "crowded", "devices":
/// [{"rank", "row", "col", "nodes", "cpus": one list per thread}]}; lists are empty where nothing is bound
Tree to_tree(const DeviceReport& report);

}  // namespace meshseek::cli

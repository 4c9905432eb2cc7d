/// What the rows of a mesh are for.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "mesh/mesh_device.hpp"

namespace meshseek {

/// users: rows share out tokens, and each has all layers. pipeline: rows share out layers, and every token passes through all rows.
enum class ParallelPlan : std::uint8_t { users, pipeline };
constexpr auto enum_names(ParallelPlan) {
  return std::array<std::pair<ParallelPlan, std::string_view>, 2>{{{ParallelPlan::users, "users"}, {ParallelPlan::pipeline, "pipeline"}}};
}

/// The devices that cut a layer, and its weights, among themselves: all of the mesh, or those of a row.
constexpr MeshShape weight_mesh(const MeshShape& mesh, ParallelPlan plan) {
  return plan == ParallelPlan::pipeline ? MeshShape{.rows = 1, .cols = mesh.cols} : mesh;
}

/// The same for what stages 1 and 2 know of the machine.
inline MeshDevice weight_mesh(MeshDevice mesh, ParallelPlan plan) {
  mesh.shape = weight_mesh(mesh.shape, plan);
  return mesh;
}

}  // namespace meshseek

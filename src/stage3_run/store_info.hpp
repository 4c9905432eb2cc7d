/// The head of a store.
#pragma once
#include <cstdint>

#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "mesh/mesh_shape.hpp"
#include "tensor/dtype.hpp"

namespace meshseek {

inline constexpr std::int64_t kWeightConfigVersion = 1;

/// What weight_config.json says besides the weights.
struct StoreInfo {
  MeshShape mesh = {};
  bool deterministic = false;            ///< cut along outputs: for deterministic configs of several columns, and for no others
  DataType dtype = DataType::bfloat8_b;  ///< standard dtype of the projections
  Tree weight_config = {};               ///< below "model", folded
};

/// Reads and checks `store`/weight_config.json. \throws Error: unfinished conversion (run convert again), another version, not a store.
StoreInfo read_store_info(const Path& store);
/// Whether the folder is or was meant to be a store (finished or not).
bool looks_like_store(const Path& folder);

}  // namespace meshseek

/// What flags that several verbs share say.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/tree.hpp"
#include "mesh/mesh_shape.hpp"
#include "mesh/placement.hpp"
#include "stage2_configure/configure.hpp"
#include "tensor/dtype.hpp"

namespace meshseek::cli {

/// Which weights: a checkpoint or a store, and how a checkpoint is converted.
struct SourceFlags {
  std::string model = {};  ///< empty: the installed model
  std::string dtype = {};
  std::string dtype_policy = {};
  std::string mesh = {};
  std::string plan = {};
  bool deterministic = false;  ///< also decides how a checkpoint is cut for a mesh
};

/// Changes to the configs that stage 2 makes.
struct ConfigFlags {
  std::string prefill_config = {};
  std::string decode_config = {};
  std::vector<std::string> overlays = {};
  std::vector<std::string> sets = {};
  bool strict = false;          ///< a config that was made for another number of cores is an error
  bool prefault = false;        ///< weights are read from the disk while they are loaded
  std::size_t num_threads = 0;  ///< cores of the device that standard configs are made for; 0: as probed
};

/// Where the devices of a mesh run.
struct DeviceFlags {
  std::string bind = {};
  std::size_t num_threads = 0;  ///< of each device; 0: an equal share of the usable cores
};

/// Values of flags; empty text: absent. \throws UsageError naming the flag.
std::optional<DataType> dtype_value(const std::string& text);
MeshShape mesh_value(const std::string& text);
ParallelPlan plan_value(const std::string& text);
std::optional<Bind> bind_value(const std::string& text);
/// Token ids separated by commas or white space, brackets ignored.
std::vector<std::int64_t> ids_value(std::string_view text, const std::string& flag);

/// A JSON file named by a flag. \throws Error, ConfigError.
Tree read_json_file(const std::string& path);
std::vector<Overlay> read_overlays(const ConfigFlags& flags);

}  // namespace meshseek::cli

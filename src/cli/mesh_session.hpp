/// Which devices of the mesh this process has: all of them, or one, when an MPI launcher started it.
#pragma once
#include <cstddef>
#include <functional>

#include "cli/engine.hpp"
#include "cli/flag_values.hpp"
#include "cli/model_source.hpp"
#include "mesh/mpi_mesh.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {

/// What a verb does with a model on a mesh.
struct MeshWork {
  MeshShape mesh = {};
  DeviceFlags devices = {};
  bool prefault = false;  ///< see RunnerOptions
  /// On every other rank, when rank 0 loads: the same store and configs. \param num_cores of each device
  std::function<PreparedModel(std::size_t num_cores)> prepare = {};
  /// The verb's own work, on rank 0 alone. \param front for load_model()
  std::function<void(const FrontProcess& front)> lead = {};
};

/// This rank's share of its host. All devices of the mesh get as many threads as the one that has fewest, as in one process: whoever has
/// more would wait. Every rank calls it.
DevicePlace place_of_rank(const MpiMesh& mpi, const DeviceFlags& devices);

/// Without a launcher: lead(). Under one the ranks meet first, each a device; rank 0 leads, the others follow it until it has done. Before
/// the first thread of the process. \throws Error, UsageError: what rank 0 throws while the others wait for it, after all have ended well,
/// so that it is told once and with its own exit code. An error of another rank, and one in the middle of a pass, ends all processes here
/// (Communicator::fail).
void run_on_mesh(const MeshWork& work);

/// The same for a checkpoint or store that is there. \param lead see MeshWork
void run_on_mesh(const ModelSource& source, const ConfigFlags& configs, const DeviceFlags& devices,
                 const std::function<void(const FrontProcess& front)>& lead);

}  // namespace meshseek::cli

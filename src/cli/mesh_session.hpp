/// Which devices of the mesh this process has: all of them, or one, when an MPI launcher started it.
#pragma once
#include <memory>

#include "cli/flags.hpp"
#include "cli/model_source.hpp"
#include "mesh/mpi_mesh.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {

/// Made before the first thread, as soon as the mesh is known. Rank 0 reads, prints and leads; the others follow it until it has gone.
class MeshSession {
 public:
  /// \throws Error: another number of ranks than devices; see MpiMesh
  MeshSession(const MeshShape& mesh, const DeviceFlags& devices);

  /// Whether another rank leads: then follow() is all that there is to do.
  bool is_follower() const { return mpi_ && mpi_->communicator()->rank() > 0; }
  /// Loads this rank's device when rank 0 does, and does what it says. \throws Error, after which all ranks end
  void follow(const ModelSource& source, const ConfigFlags& configs, const DeviceFlags& devices) const;
  /// For RunnerOptions; empty without a launcher.
  const FrontProcess& front() const { return front_; }

 private:
  std::unique_ptr<MpiMesh> mpi_;
  DevicePlace place_;
  FrontProcess front_;  ///< last: the others are let go before the mesh ends
};

}  // namespace meshseek::cli

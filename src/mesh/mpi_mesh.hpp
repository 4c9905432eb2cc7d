/// The mesh over processes: each rank of an MPI launcher is one device.
///
/// mesh/mpi implements it with OpenMPI, mesh/no_mpi says what is missing; CMake chooses (MESHSEEK_MPI).
#pragma once
#include <cstdint>
#include <memory>

#include "mesh/communicator.hpp"

namespace meshseek {

/// Whether this process was started by an MPI launcher with at least two ranks.
bool is_mpi_rank();

/// The number that such a launcher gave this process, known before the processes have met; 0 without a launcher.
std::int64_t launched_rank();

/// At most one in a process, made before its threads. Communicators belong to one thread at a time, which need not be the first.
class MpiMesh {
 public:
  /// Joins the other ranks. This process may then use the cores that its launcher may use: binding is not the launcher's business.
  /// \throws Error: no MPI, or another number of ranks than devices
  explicit MpiMesh(const MeshShape& shape);
  /// Waits for all others to come here as well. While an exception passes by it ends them instead: who knows its message calls fail()
  /// before.
  ~MpiMesh();
  MpiMesh(const MpiMesh&) = delete;
  MpiMesh& operator=(const MpiMesh&) = delete;

  /// Its fail() ends all processes, this one included, with exit code 1; one of them prints the message.
  const std::shared_ptr<Communicator>& communicator() const;
  /// Ranks on this host, and this one's number among them.
  std::int64_t num_local_ranks() const;
  std::int64_t local_rank() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace meshseek

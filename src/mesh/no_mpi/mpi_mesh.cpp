#include "mesh/mpi_mesh.hpp"

namespace meshseek {

struct MpiMesh::State {
  std::shared_ptr<Communicator> communicator;
};

MpiMesh::MpiMesh(const MeshShape&) {
  throw Error(
      "[mpi] this program was built without MPI and cannot join other processes; install libopenmpi-dev and openmpi-bin, then configure "
      "again with -DMESHSEEK_MPI=ON, or run all devices in one process, without mpirun");
}
MpiMesh::~MpiMesh() = default;
const std::shared_ptr<Communicator>& MpiMesh::communicator() const { return state_->communicator; }
std::int64_t MpiMesh::num_local_ranks() const { return 1; }
std::int64_t MpiMesh::local_rank() const { return 0; }

}  // namespace meshseek

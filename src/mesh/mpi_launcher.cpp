#include <charconv>
#include <cstdlib>
#include <cstring>

#include "mesh/mpi_mesh.hpp"

namespace meshseek {

bool is_mpi_rank() {
  // What OpenMPI's mpirun, and launchers that speak PMI, tell their processes.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    int size = 0;
    std::from_chars(text, text + std::strlen(text), size);
    return size > 1;
  }
  return false;
}

}  // namespace meshseek

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <optional>

#include "mesh/mpi_mesh.hpp"

namespace meshseek {
namespace {

/// The number in the first of some variables that is set: what OpenMPI's mpirun, and launchers that speak PMI, tell their processes.
std::optional<std::int64_t> number_of_launcher(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    std::int64_t number = 0;
    std::from_chars(text, text + std::strlen(text), number);
    return number;
  }
  return std::nullopt;
}

}  // namespace

bool is_mpi_rank() { return number_of_launcher({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}).value_or(1) > 1; }

std::int64_t launched_rank() { return is_mpi_rank() ? number_of_launcher({"OMPI_COMM_WORLD_RANK", "PMI_RANK"}).value_or(0) : 0; }

}  // namespace meshseek

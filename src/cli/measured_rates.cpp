#include "cli/measured_rates.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/error.hpp"
#include "cli/link_rates.hpp"
#include "cli/mesh_session.hpp"
#include "mesh/handshake.hpp"
#include "mesh/mpi_mesh.hpp"

namespace meshseek::cli {
namespace {

/// Less than bench reads: a plan needs no second digit.
constexpr std::size_t kCalibrationBytes = std::size_t{512} << 20;

/// \param rate of this device  \return that of the slowest one, for `num_devices`
double of_slowest(Communicator& communicator, double rate, std::int64_t num_devices) {
  return static_cast<double>(least_of(communicator, std::llround(rate)) * num_devices);
}

/// Between the first rank and another one; nothing on the others.
LinkRates link_to(Communicator& communicator, std::int64_t peer) {
  LinkRates rates;
  if (communicator.rank() == 0) rates = measure_link(communicator, peer);
  if (communicator.rank() == peer) measure_link(communicator, 0);
  least_of(communicator, 0);  // the others come here and wait
  return rates;
}

MeasuredRates measure(const MpiMesh& mpi, const MeshShape& mesh, const DeviceFlags& devices) {
  Communicator& communicator = *mpi.communicator();
  const std::int64_t on_host = -least_of(communicator, -mpi.num_local_ranks());  // of the host that has most
  MeasuredRates rates = {.hosts = ceil_div(mesh.num_devices(), on_host)};
  {
    ThreadTeam team(place_of_rank(mpi, devices).team);
    const MachineRates own = Calibration(team, kCalibrationBytes).measure();
    rates.host = {.read_bytes_s = of_slowest(communicator, own.read_bytes_s, on_host),
                  .fp32_flop_s = of_slowest(communicator, own.fp32_flop_s, on_host),
                  .bf16_flop_s = of_slowest(communicator, own.bf16_flop_s, on_host),
                  .int8_op_s = of_slowest(communicator, own.int8_op_s, on_host),
                  .has_tiles = own.has_tiles};
  }
  if (rates.hosts > 1) rates.link = link_to(communicator, mesh.num_devices() - 1);
  if (on_host > 1) rates.local = link_to(communicator, 1);
  return rates;
}

}  // namespace

MachineRates measure_host(std::size_t num_threads) {
  ThreadTeam team(num_threads);
  return Calibration(team, kCalibrationBytes).measure();
}

MeasuredRates measure_mesh(const MeshShape& mesh, const DeviceFlags& devices) {
  const MpiMesh mpi(mesh);
  try {
    return measure(mpi, mesh, devices);
  } catch (...) {
    mpi.communicator()->fail(message_of(std::current_exception()));
    throw;
  }
}

}  // namespace meshseek::cli

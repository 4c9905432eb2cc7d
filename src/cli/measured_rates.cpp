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

/// Of a host with `num_devices` like the slowest one.
MachineRates measure_devices(const MpiMesh& mpi, const DeviceFlags& devices, std::int64_t num_devices) {
  Communicator& communicator = *mpi.communicator();
  ThreadTeam team(place_of_rank(mpi, devices).team);
  const MachineRates own = Calibration(team, kCalibrationBytes).measure();
  return {.read_bytes_s = of_slowest(communicator, own.read_bytes_s, num_devices),
          .fp32_flop_s = of_slowest(communicator, own.fp32_flop_s, num_devices),
          .bf16_flop_s = of_slowest(communicator, own.bf16_flop_s, num_devices),
          .int16_op_s = of_slowest(communicator, own.int16_op_s, num_devices),
          .int8_op_s = of_slowest(communicator, own.int8_op_s, num_devices),
          .has_tiles = own.has_tiles};
}

}  // namespace

MachineRates measure_host(std::size_t num_threads) {
  ThreadTeam team(num_threads);
  return Calibration(team, kCalibrationBytes).measure();
}

MeasuredRates measure_mesh(const MeshShape& mesh, const DeviceFlags& devices, bool with_hosts) {
  const MpiMesh mpi(mesh);
  Communicator& communicator = *mpi.communicator();
  try {
    const std::int64_t on_host = -least_of(communicator, -mpi.num_local_ranks());  // of the host that has most
    MeasuredRates rates = {.hosts = ceil_div(mesh.num_devices(), on_host)};
    if (with_hosts) rates.host = measure_devices(mpi, devices, on_host);
    if (rates.hosts > 1) rates.link = link_to(communicator, mesh.num_devices() - 1);
    if (on_host > 1) rates.local = link_to(communicator, 1);
    return rates;
  } catch (...) {
    communicator.fail(message_of(std::current_exception()));
    throw;
  }
}

}  // namespace meshseek::cli

/// What the devices and links of this machine, or of a launcher's hosts, can do.
#pragma once
#include <cstdint>

#include "cli/calibration.hpp"
#include "cli/flag_values.hpp"
#include "cli/mesh_plan.hpp"

namespace meshseek::cli {

struct MeasuredRates {
  MachineRates host = {};
  std::int64_t hosts = 1;
  LinkRates link = {};   ///< between the first and the last device, when they are on different hosts
  LinkRates local = {};  ///< between the first two devices of the first host
};

/// The rates of this machine, with the team's threads. A second or two; memory as Calibration.
MachineRates measure_host(std::size_t num_threads);

/// Under an MPI launcher: with `with_hosts` every rank calibrates its device, all at the same time, so that what devices share is shared; a host has the rates of its slowest
/// device for each of its devices. Then messages, while nothing else runs. Every rank calls it. \throws Error: another number of ranks than devices
/// \return the same host rates on all ranks, links on rank 0
MeasuredRates measure_mesh(const MeshShape& mesh, const DeviceFlags& devices, bool with_hosts);

}  // namespace meshseek::cli

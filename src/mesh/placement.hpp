/// Which cores and which memory each device of a mesh has.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_team.hpp"
#include "mesh/machine.hpp"

namespace meshseek {

enum class Bind : std::uint8_t {
  none,   ///< the scheduler decides where threads run
  numa,   ///< a device stays in one memory node, its threads move between that node's cores
  cores,  ///< every thread stays on one core
};
constexpr auto enum_names(Bind) {
  return std::array<std::pair<Bind, std::string_view>, 3>{{{Bind::none, "none"}, {Bind::numa, "numa"}, {Bind::cores, "cores"}}};
}

/// What a mesh gets that nobody chose for: numa for several devices on several memory nodes, because memory of another node costs half the
/// rate or more. Otherwise none: a thread that may not move waits whenever another program runs on its core, and all devices wait for it.
Bind standard_bind(const Machine& machine, std::size_t num_devices);

struct DevicePlace {
  TeamPlace team = {};
  std::vector<std::size_t> nodes = {};  ///< memory nodes of its cores, indices into Machine::nodes; empty with Bind::none
};

/// Deals the cores out to devices, neighbours to neighbours. With Bind::numa no device has cores of two nodes unless there are more nodes than
/// devices; nodes get devices in proportion to their cores. Cores are shared where there are fewer of them than devices. Memory is where the
/// threads run that write to it first.
/// \param num_threads of each device; 0: as many as the smallest share has CPUs, so that all devices are equal
/// \return one place per device
std::vector<DevicePlace> place_devices(const Machine& machine, std::size_t num_devices, Bind bind, std::size_t num_threads = 0);

/// The same on this machine. \param bind unset: standard_bind(). One device that nothing binds is where the program is: the machine is not
/// looked at.
std::vector<DevicePlace> place_here(std::size_t num_devices, std::optional<Bind> bind, std::size_t num_threads = 0);

}  // namespace meshseek

/// CPUs and memory nodes of a machine.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace meshseek {

/// What runs one thread: a core, or one of the hardware threads of a core.
struct Cpu {
  int number = 0;        ///< as the operating system counts
  std::size_t core = 0;  ///< from 0
  std::size_t node = 0;  ///< index into Machine::nodes
};

struct MemoryNode {
  int number = 0;  ///< as the operating system counts
  std::uint64_t bytes = 0;
};

/// CPUs of a node, and of a core, are neighbours; nodes and cores without usable CPUs are left out.
struct Machine {
  std::vector<Cpu> cpus = {};
  std::vector<MemoryNode> nodes = {};
  std::size_t num_cores() const { return cpus.empty() ? 0 : cpus.back().core + 1; }
};

/// What this process may use of this machine. \throws Error when it cannot be found out
Machine read_machine();
/// A machine that hwloc makes up, such as "numa:2 core:4 pu:2". \throws Error for a text that hwloc does not understand
Machine synthetic_machine(const std::string& description);

}  // namespace meshseek

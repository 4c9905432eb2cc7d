#include "mesh/machine.hpp"

#include <fmt/format.h>
#include <hwloc.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <span>

#include "base/cpu_binding.hpp"
#include "base/error.hpp"

namespace meshseek {
namespace {

struct Destroy {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Handle = std::unique_ptr<hwloc_topology, Destroy>;

Handle load(const std::string& description) {
  hwloc_topology* raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) throw Error("[machine] hwloc cannot be started; expected free memory");
  Handle handle(raw);
  if (!description.empty() && hwloc_topology_set_synthetic(raw, description.c_str()) != 0) {
    throw Error(fmt::format("[machine] \"{}\" is no machine; expected e.g. \"numa:2 core:4 pu:2\"", description));
  }
  if (hwloc_topology_load(raw) != 0) throw Error("[machine] hwloc cannot read this machine; run with --bind none");
  return handle;
}

/// Number of the nearest memory node; 0 on machines that name none.
int node_number(const hwloc_obj* cpu) {
  const int number = cpu->nodeset == nullptr ? -1 : hwloc_bitmap_first(cpu->nodeset);
  return std::max(number, 0);
}

std::uint64_t node_bytes(hwloc_topology* topology, int number) {
  const hwloc_obj* node = hwloc_get_numanode_obj_by_os_index(topology, static_cast<unsigned>(number));
  return node == nullptr ? 0 : node->attr->numanode.local_memory;
}

/// \param may_use null: every CPU
Machine convert(hwloc_topology* topology, const std::set<int>* may_use) {
  std::map<int, std::vector<hwloc_obj_t>> by_node;
  for (hwloc_obj_t cpu = nullptr; (cpu = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_PU, cpu)) != nullptr;) {
    if (may_use == nullptr || may_use->contains(static_cast<int>(cpu->os_index))) by_node[node_number(cpu)].push_back(cpu);
  }
  Machine result;
  std::map<const hwloc_obj*, std::size_t> cores;
  for (const auto& [number, cpus] : by_node) {
    for (hwloc_obj_t cpu : cpus) {
      const hwloc_obj* core = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, cpu);
      const std::size_t core_idx = cores.emplace(core == nullptr ? cpu : core, cores.size()).first->second;
      result.cpus.push_back({.number = static_cast<int>(cpu->os_index), .core = core_idx, .node = result.nodes.size()});
    }
    result.nodes.push_back({.number = number, .bytes = node_bytes(topology, number)});
  }
  return result;
}

}  // namespace

Machine read_machine() {
  const std::vector<int> usable = usable_cpus();
  const std::set<int> may_use(usable.begin(), usable.end());
  Machine machine = convert(load("").get(), &may_use);
  if (!machine.cpus.empty()) return machine;
  // A machine that hides its CPUs from hwloc: all of them are cores of one node.
  for (const int number : usable) machine.cpus.push_back({.number = number, .core = machine.cpus.size(), .node = 0});
  machine.nodes.push_back({});
  return machine;
}

Machine synthetic_machine(const std::string& description) { return convert(load(description).get(), nullptr); }

}  // namespace meshseek

#include "mesh/placement.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace meshseek {
namespace {

using Cpus = std::vector<Cpu>;

/// Part `idx` of `count` of what has `size` elements, at least one: where there are too few, parts share them.
std::pair<std::size_t, std::size_t> part_of(std::size_t size, std::size_t idx, std::size_t count) {
  const std::size_t begin = size * idx / count;
  return {begin, std::max(size * (idx + 1) / count, begin + 1)};
}

/// CPUs whose `member` (core or node) lies in a range.
Cpus in_range(const Cpus& cpus, std::size_t Cpu::*member, std::pair<std::size_t, std::size_t> range) {
  Cpus found;
  for (const Cpu& cpu : cpus) {
    if (cpu.*member >= range.first && cpu.*member < range.second) found.push_back(cpu);
  }
  return found;
}

/// Part of the cores of some CPUs.
Cpus part_of_cores(const Cpus& cpus, std::size_t idx, std::size_t count) {
  const std::size_t first = cpus.front().core;
  const auto [begin, end] = part_of(cpus.back().core + 1 - first, idx, count);
  return in_range(cpus, &Cpu::core, {first + begin, first + end});
}

/// Devices of each node: one, and the rest where most cores are for each.
std::vector<std::size_t> devices_of_nodes(const Machine& machine, std::size_t num_devices) {
  std::vector<std::size_t> counts(machine.nodes.size(), 1);
  std::vector<double> cores(machine.nodes.size());
  for (const Cpu& cpu : machine.cpus) cores[cpu.node] += 1.0;
  for (std::size_t left = num_devices - counts.size(); left > 0; --left) {
    const auto room = [&](std::size_t node) { return cores[node] / static_cast<double>(counts[node]); };
    std::size_t best = 0;
    for (std::size_t node = 1; node < counts.size(); ++node) best = room(node) > room(best) ? node : best;
    ++counts[best];
  }
  return counts;
}

std::vector<Cpus> shares_in_nodes(const Machine& machine, std::size_t num_devices) {
  const std::size_t num_nodes = machine.nodes.size();
  std::vector<Cpus> shares;
  if (num_devices <= num_nodes) {
    for (std::size_t device = 0; device < num_devices; ++device)
      shares.push_back(in_range(machine.cpus, &Cpu::node, part_of(num_nodes, device, num_devices)));
    return shares;
  }
  const std::vector<std::size_t> counts = devices_of_nodes(machine, num_devices);
  for (std::size_t node = 0; node < num_nodes; ++node) {
    const Cpus cpus = in_range(machine.cpus, &Cpu::node, {node, node + 1});
    for (std::size_t idx = 0; idx < counts[node]; ++idx) shares.push_back(part_of_cores(cpus, idx, counts[node]));
  }
  return shares;
}

/// The first hardware thread of each core, then the second ones: few threads get a core each.
Cpus cores_first(const Cpus& share) {
  std::map<std::size_t, std::size_t> seen;
  std::vector<std::pair<std::size_t, Cpu>> ranked;
  for (const Cpu& cpu : share) ranked.emplace_back(seen[cpu.core]++, cpu);
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Cpus cpus;
  for (const auto& [rank, cpu] : ranked) cpus.push_back(cpu);
  return cpus;
}

std::vector<std::size_t> nodes_of(const Cpus& share) {
  std::set<std::size_t> nodes;
  for (const Cpu& cpu : share) nodes.insert(cpu.node);
  return {nodes.begin(), nodes.end()};
}

DevicePlace bound_place(const Machine& machine, const Cpus& share, Bind bind, std::size_t num_threads) {
  DevicePlace place = {.team = {.num_threads = num_threads}, .nodes = nodes_of(share)};
  const Cpus order = cores_first(share);
  std::vector<int> neighbours;
  for (const Cpu& cpu : machine.cpus) {
    if (std::ranges::find(place.nodes, cpu.node) != place.nodes.end()) neighbours.push_back(cpu.number);
  }
  for (std::size_t idx = 0; idx < num_threads; ++idx)
    place.team.cpus.push_back(bind == Bind::cores ? std::vector{order[idx % order.size()].number} : neighbours);
  return place;
}

/// A place is crowded where its CPUs have more threads than there are of them.
void mark_crowded(std::vector<DevicePlace>& places) {
  std::map<std::vector<int>, std::size_t> threads;  // by the set of CPUs that they may use; the sets are equal or disjoint
  for (const DevicePlace& place : places) {
    for (const std::vector<int>& cpus : place.team.cpus) ++threads[cpus];
  }
  for (DevicePlace& place : places)
    for (const std::vector<int>& cpus : place.team.cpus) place.team.is_crowded |= threads[cpus] > cpus.size();
}

}  // namespace

Bind standard_bind(const Machine& machine, std::size_t num_devices) {
  return num_devices > 1 && machine.nodes.size() > 1 ? Bind::numa : Bind::none;
}

std::vector<DevicePlace> place_devices(const Machine& machine, std::size_t num_devices, Bind bind, std::size_t num_threads) {
  std::vector<Cpus> shares;
  if (bind == Bind::numa) shares = shares_in_nodes(machine, num_devices);
  for (std::size_t device = 0; bind != Bind::numa && device < num_devices; ++device)
    shares.push_back(part_of_cores(machine.cpus, device, num_devices));
  if (num_threads == 0) {
    num_threads = machine.cpus.size();
    for (const Cpus& share : shares) num_threads = std::min(num_threads, share.size());
  }
  std::vector<DevicePlace> places;
  for (const Cpus& share : shares) {
    if (bind != Bind::none)
      places.push_back(bound_place(machine, share, bind, num_threads));
    else
      places.push_back({.team = {.num_threads = num_threads, .is_crowded = num_devices * num_threads > machine.cpus.size()}});
  }
  mark_crowded(places);
  return places;
}

std::vector<DevicePlace> place_here(std::size_t num_devices, std::optional<Bind> bind, std::size_t num_threads) {
  if (num_devices == 1 && bind.value_or(Bind::none) == Bind::none) return {{.team = {.num_threads = num_threads}}};
  const Machine machine = read_machine();
  return place_devices(machine, num_devices, bind.value_or(standard_bind(machine, num_devices)), num_threads);
}

}  // namespace meshseek

#include "cli/inspect_devices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/fields.hpp"

namespace meshseek::cli {
namespace {

std::vector<int> cpus_of_node(const Machine& machine, std::size_t node) {
  std::vector<int> numbers;
  for (const Cpu& cpu : machine.cpus) {
    if (cpu.node == node) numbers.push_back(cpu.number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

/// "0-3,8"
std::string ranges_text(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t begin = 0; begin < numbers.size();) {
    std::size_t end = begin + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[begin]);
    if (end - begin > 1) text += fmt::format("-{}", numbers[end - 1]);
    begin = end;
  }
  return text;
}

std::string place_text(const Machine& machine, const DevicePlace& place) {
  if (place.team.cpus.empty()) return "any CPU";
  std::vector<std::string> nodes;
  for (const std::size_t node : place.nodes) nodes.push_back(std::to_string(machine.nodes[node].number));
  std::vector<std::string> cpus;
  for (const std::vector<int>& member : place.team.cpus) cpus.push_back(ranges_text(member));
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  return fmt::format("memory node {}, CPUs {}", fmt::join(nodes, ","), fmt::join(cpus, " "));
}

Tree list_of(const std::vector<int>& numbers) { return Tree(Tree::Array(numbers.begin(), numbers.end())); }

Tree machine_tree(const Machine& machine) {
  Tree::Array nodes;
  for (std::size_t node = 0; node < machine.nodes.size(); ++node) {
    Tree tree;
    tree.set("number", Tree(machine.nodes[node].number));
    tree.set("bytes", Tree(static_cast<std::int64_t>(machine.nodes[node].bytes)));
    tree.set("cpus", list_of(cpus_of_node(machine, node)));
    nodes.push_back(std::move(tree));
  }
  Tree tree;
  tree.set("cores", Tree(static_cast<std::int64_t>(machine.num_cores())));
  tree.set("cpus", Tree(static_cast<std::int64_t>(machine.cpus.size())));
  tree.set("nodes", Tree(std::move(nodes)));
  return tree;
}

Tree device_tree(const DeviceReport& report, std::size_t rank) {
  const DevicePlace& place = report.places[rank];
  Tree::Array nodes;
  for (const std::size_t node : place.nodes) nodes.emplace_back(report.machine.nodes[node].number);
  Tree::Array cpus;
  for (const std::vector<int>& member : place.team.cpus) cpus.push_back(list_of(member));
  const auto number = static_cast<std::int64_t>(rank);
  Tree tree;
  tree.set("rank", Tree(number));
  tree.set("row", Tree(number / report.mesh.cols));
  tree.set("col", Tree(number % report.mesh.cols));
  tree.set("nodes", Tree(std::move(nodes)));
  tree.set("cpus", Tree(std::move(cpus)));
  return tree;
}

bool is_crowded(const DeviceReport& report) {
  return std::ranges::any_of(report.places, [](const DevicePlace& place) { return place.team.is_crowded; });
}

std::string plural(std::size_t count, std::string_view what) { return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s"); }

}  // namespace

DeviceReport inspect_devices(const MeshShape& mesh, std::optional<Bind> bind, std::size_t num_threads) {
  DeviceReport report = {.machine = read_machine(), .mesh = mesh};
  const auto num_devices = static_cast<std::size_t>(mesh.num_devices());
  report.bind = bind.value_or(standard_bind(report.machine, num_devices));
  report.places = place_devices(report.machine, num_devices, report.bind, num_threads);
  return report;
}

std::string to_text(const DeviceReport& report) {
  const Machine& machine = report.machine;
  std::string text = fmt::format("machine: {}, {}, {}\n", plural(machine.num_cores(), "core"), plural(machine.cpus.size(), "CPU"),
                                 plural(machine.nodes.size(), "memory node"));
  for (std::size_t node = 0; node < machine.nodes.size(); ++node) {
    text += fmt::format("  node {}: {:.1f} GB, CPUs {}\n", machine.nodes[node].number, static_cast<double>(machine.nodes[node].bytes) / 1e9,
                        ranges_text(cpus_of_node(machine, node)));
  }
  text += fmt::format("mesh {}, bind {}: {} of {}\n", to_string(report.mesh), enum_name(report.bind),
                      plural(report.places.size(), "device"), plural(report.places.front().team.num_threads, "thread"));
  for (std::size_t rank = 0; rank < report.places.size(); ++rank) {
    const auto cols = static_cast<std::size_t>(report.mesh.cols);
    text += fmt::format("  device {} ({}, {}): {}\n", rank, rank / cols, rank % cols, place_text(machine, report.places[rank]));
  }
  if (is_crowded(report)) text += "there are more threads than CPUs: whoever waits gives its core away\n";
  return text;
}

Tree to_tree(const DeviceReport& report) {
  Tree::Array devices;
  for (std::size_t rank = 0; rank < report.places.size(); ++rank) devices.push_back(device_tree(report, rank));
  Tree tree;
  tree.set("machine", machine_tree(report.machine));
  tree.set("mesh", Tree(to_string(report.mesh)));
  tree.set("bind", Tree(enum_name(report.bind)));
  tree.set("threads", Tree(static_cast<std::int64_t>(report.places.front().team.num_threads)));
  tree.set("crowded", Tree(is_crowded(report)));
  tree.set("devices", Tree(std::move(devices)));
  return tree;
}

}  // namespace meshseek::cli

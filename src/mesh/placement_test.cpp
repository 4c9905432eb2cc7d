#include "mesh/placement.hpp"

#include <gmock/gmock.h>

#include <set>
#include <string>

#include "base/error.hpp"

namespace meshseek {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Numbers = std::vector<int>;

/// The CPU of each thread of each device.
std::vector<Numbers> pinned(const std::string& machine, std::size_t num_devices, std::size_t num_threads = 0) {
  std::vector<Numbers> devices;
  for (const DevicePlace& place : place_devices(synthetic_machine(machine), num_devices, Bind::cores, num_threads)) {
    Numbers cpus;
    for (const Numbers& member : place.team.cpus) {
      EXPECT_EQ(member.size(), 1U);
      cpus.push_back(member.front());
    }
    devices.push_back(cpus);
  }
  return devices;
}

/// The nodes of each device.
std::vector<std::vector<std::size_t>> nodes(const std::string& machine, std::size_t num_devices) {
  std::vector<std::vector<std::size_t>> devices;
  for (const DevicePlace& place : place_devices(synthetic_machine(machine), num_devices, Bind::numa)) devices.push_back(place.nodes);
  return devices;
}

TEST(Machine, KnowsCoresAndNodesOfEachCpu) {
  const Machine machine = synthetic_machine("numa:2 core:3 pu:2");
  ASSERT_EQ(machine.cpus.size(), 12U);
  EXPECT_EQ(machine.num_cores(), 6U);
  EXPECT_EQ(machine.nodes.size(), 2U);
  EXPECT_EQ(machine.cpus[0].core, machine.cpus[1].core);
  EXPECT_EQ(machine.cpus[5].node, 0U);
  EXPECT_EQ(machine.cpus[6].node, 1U);
  EXPECT_EQ(machine.cpus[6].core, 3U);
  EXPECT_GT(machine.nodes[1].bytes, 0U);
}

TEST(Machine, OfThisMachineHasTheCpusThatThisProcessMayUse) {
  const Machine machine = read_machine();
  Numbers numbers;
  for (const Cpu& cpu : machine.cpus) numbers.push_back(cpu.number);
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(numbers, usable_cpus());
  const CpuBinding one(Numbers{numbers.front()});
  EXPECT_EQ(read_machine().cpus.size(), 1U);
}

TEST(Machine, RefusesAMachineThatHwlocDoesNotUnderstand) { EXPECT_THROW(synthetic_machine("many cores"), Error); }

TEST(Placement, DealsCoresToDevicesInOrder) {
  EXPECT_THAT(pinned("numa:1 core:4 pu:1", 2), ElementsAre(Numbers{0, 1}, Numbers{2, 3}));
  EXPECT_THAT(pinned("numa:2 core:2 pu:1", 4), ElementsAre(Numbers{0}, Numbers{1}, Numbers{2}, Numbers{3}));
}

TEST(Placement, GivesAllDevicesTheThreadsOfTheSmallestShare) {
  EXPECT_THAT(pinned("numa:1 core:5 pu:1", 2), ElementsAre(Numbers{0, 1}, Numbers{2, 3}));
  EXPECT_THAT(pinned("numa:1 core:5 pu:1", 3), ElementsAre(Numbers{0}, Numbers{1}, Numbers{3}));
}

TEST(Placement, UsesTheSecondHardwareThreadOfACoreLast) {
  EXPECT_THAT(pinned("numa:1 core:2 pu:2", 1, 2), ElementsAre(Numbers{0, 2}));
  EXPECT_THAT(pinned("numa:1 core:2 pu:2", 1), ElementsAre(Numbers{0, 2, 1, 3}));
}

TEST(Placement, SharesCoresOfWhichThereAreTooFew) {
  const auto places = place_devices(synthetic_machine("numa:1 core:2 pu:1"), 8, Bind::cores);
  ASSERT_EQ(places.size(), 8U);
  EXPECT_THAT(pinned("numa:1 core:2 pu:1", 8),
              ElementsAre(Numbers{0}, Numbers{0}, Numbers{0}, Numbers{0}, Numbers{1}, Numbers{1}, Numbers{1}, Numbers{1}));
  for (const DevicePlace& place : places) EXPECT_TRUE(place.team.is_crowded);
}

TEST(Placement, KeepsADeviceInOneNode) {
  EXPECT_THAT(nodes("numa:2 core:3 pu:1", 2), ElementsAre(ElementsAre(0), ElementsAre(1)));
  EXPECT_THAT(nodes("numa:2 core:3 pu:1", 3), ElementsAre(ElementsAre(0), ElementsAre(0), ElementsAre(1)));
  EXPECT_THAT(nodes("numa:4 core:2 pu:1", 2), ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3)));
  EXPECT_THAT(nodes("numa:3 core:2 pu:1", 2), ElementsAre(ElementsAre(0), ElementsAre(1, 2)));
}

TEST(Placement, LetsThreadsMoveWithinTheirNode) {
  const auto places = place_devices(synthetic_machine("numa:2 core:4 pu:1"), 4, Bind::numa);
  EXPECT_THAT(places[1].team.cpus, ElementsAre(Numbers{0, 1, 2, 3}, Numbers{0, 1, 2, 3}));
  EXPECT_THAT(places[2].team.cpus, ElementsAre(Numbers{4, 5, 6, 7}, Numbers{4, 5, 6, 7}));
  EXPECT_FALSE(places[1].team.is_crowded);
  EXPECT_TRUE(place_devices(synthetic_machine("numa:2 core:4 pu:1"), 4, Bind::numa, 3)[0].team.is_crowded);
}

TEST(Placement, DealsDevicesToNodesByTheirCores) {
  Machine machine;
  for (int cpu = 0; cpu < 6; ++cpu)
    machine.cpus.push_back({.number = cpu, .core = static_cast<std::size_t>(cpu), .node = cpu < 4 ? 0U : 1U});
  machine.nodes.resize(2);
  std::vector<std::size_t> devices(2);
  for (const DevicePlace& place : place_devices(machine, 3, Bind::numa)) ++devices[place.nodes.front()];
  EXPECT_THAT(devices, ElementsAre(2, 1));
}

TEST(Placement, BindsNothingWithoutBeingAsked) {
  const Machine machine = synthetic_machine("numa:2 core:4 pu:1");
  for (const DevicePlace& place : place_devices(machine, 3, Bind::none)) {
    EXPECT_THAT(place.team.cpus, IsEmpty());
    EXPECT_THAT(place.nodes, IsEmpty());
    EXPECT_EQ(place.team.num_threads, 2U);
    EXPECT_FALSE(place.team.is_crowded);
  }
  EXPECT_TRUE(place_devices(machine, 3, Bind::none, 3).front().team.is_crowded);
  EXPECT_EQ(standard_bind(machine, 1), Bind::none);
  EXPECT_EQ(standard_bind(machine, 2), Bind::numa);
  EXPECT_EQ(standard_bind(synthetic_machine("numa:1 core:4 pu:1"), 2), Bind::none);
}

}  // namespace
}  // namespace meshseek

// One rank of a mesh of processes, for mpi_test.cpp: mesh_program MODE MESH [FOLDER [RANK]].
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/cpu_binding.hpp"
#include "mesh/device.hpp"
#include "mesh/handshake.hpp"
#include "mesh/mpi_mesh.hpp"
#include "ops/collectives.hpp"

namespace meshseek {
namespace {

/// Longer than what the tests allow a rank to stand still.
constexpr std::chrono::seconds kLongWork(8);

constexpr std::array<std::string_view, 5> kLayerModes = {"layers", "error", "loop", "work", "leave"};

struct Arguments {
  std::string mode;
  MeshShape shape;
  std::string folder;
  std::int64_t rank = -1;  ///< that misbehaves
};

void expect(bool holds, const std::string& what) {
  if (!holds) throw Error(fmt::format("[test] {}", what));
}

/// What a rank has: small whole numbers, exact in every type on the wire.
std::vector<float> values_of(std::int64_t rank, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t idx = 0; idx < values.size(); ++idx) values[idx] = static_cast<float>((static_cast<std::int64_t>(idx) * 3 + rank) % 5);
  return values;
}

std::vector<float> sum_of_group(const MeshGroup& group, std::int64_t count) {
  std::vector<float> sum(static_cast<std::size_t>(count));
  for (const std::int64_t rank : group.ranks) {
    const std::vector<float> values = values_of(rank, count);
    for (std::size_t idx = 0; idx < sum.size(); ++idx) sum[idx] += values[idx];
  }
  return sum;
}

void check_sums(Device& device, std::optional<std::int64_t> axis, Topology topology, std::optional<DataType> wire) {
  const MeshGroup& group = device.communicator().group(axis);
  for (const std::int64_t rows : {0, 1, 3, 700}) {
    const std::int64_t cols = 8 * group.size();
    const Tensor x = Tensor::from<float>({rows, cols}, values_of(device.communicator().rank(), rows * cols), &device);
    const std::vector<float> sum = sum_of_group(group, rows * cols);
    for (const bool use_composite : {true, false}) {
      const Tensor y = all_reduce(
          x, {.cluster_axis = axis, .topology = topology, .dtype = wire, .num_reduce_scatter_links = 3, .use_composite = use_composite});
      expect(to_float_vector(y) == sum, fmt::format("all_reduce of {} rows", rows));
    }
    const Tensor part = reduce_scatter(x, {.cluster_axis = axis, .topology = topology, .dtype = wire, .num_links = 2});
    const Tensor whole = all_gather(part, {.cluster_axis = axis, .topology = topology, .dtype = wire, .num_links = 2});
    expect(to_float_vector(whole) == sum, fmt::format("reduce_scatter and all_gather of {} rows", rows));
    const Tensor root = broadcast(x, {.cluster_axis = axis, .topology = topology, .dtype = wire, .root = group.size() - 1});
    expect(to_float_vector(root) == values_of(group.ranks.back(), rows * cols), "broadcast");
  }
}

void check_moves(Device& device, std::optional<std::int64_t> axis) {
  const MeshGroup& group = device.communicator().group(axis);
  const Shape shape = {2 * group.size(), 3, 5};
  const Tensor x = Tensor::from<float>(shape, values_of(device.communicator().rank(), volume(shape)), &device);
  const Tensor there = all_to_all(x, {.cluster_axis = axis, .in_dim = 1, .out_dim = 0});
  expect(there.shape() == Shape({2, 3 * group.size(), 5}) || group.size() == 1, "all_to_all's shape");
  expect(to_float_vector(all_to_all(there, {.cluster_axis = axis, .in_dim = 0, .out_dim = 1})) == to_float_vector(x),
         "all_to_all and back");
  std::vector<std::int64_t> counts;
  for (std::int64_t to = 0; to < group.size(); ++to) counts.push_back((group.position + to) % 3);
  const std::int64_t num_rows = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const Tensor rows = Tensor::from<float>({num_rows, 4}, values_of(device.communicator().rank(), num_rows * 4), &device);
  const ReceivedRows received = all_to_all_rows(rows, counts, {.cluster_axis = axis});
  const ReceivedRows back = all_to_all_rows(received.rows, received.receive_counts, {.cluster_axis = axis});
  expect(to_float_vector(back.rows) == to_float_vector(rows) && back.receive_counts == counts, "all_to_all_rows and back");
  const Tensor joined = all_gather(rows, {.cluster_axis = axis, .dim = 0, .uneven = true});
  expect(joined.dim(0) >= num_rows, "all_gather of uneven parts");
  if (group.size() > 1 && group.position == 0) send(x, {.cluster_axis = axis, .to = 1});
  if (group.position == 1) expect(recv(device, {.cluster_axis = axis, .from = 0}).shape() == shape, "send and recv");
  barrier(device);
}

void run_collectives(Device& device) {
  for (const std::optional<std::int64_t> axis :
       {std::optional<std::int64_t>{}, std::optional<std::int64_t>{0}, std::optional<std::int64_t>{1}}) {
    for (const Topology topology : {Topology::Direct, Topology::Ring, Topology::Linear}) {
      for (const std::optional<DataType> wire :
           {std::optional<DataType>{}, std::optional(DataType::bfloat16), std::optional(DataType::bfloat8_b)})
        check_sums(device, axis, topology, wire);
    }
    check_moves(device, axis);
  }
}

/// In an operator for ever: the rank takes pieces of its work for so long, then nothing moves any more.
[[noreturn]] void loop(Device& device, std::chrono::seconds works) {
  device.enter_operator("linear");
  const auto end = std::chrono::steady_clock::now() + works;
  while (true) {
    if (std::chrono::steady_clock::now() < end) device.communicator().progress().note_work();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Layers without end, but for the rank that misbehaves after some of them.
void run_layers(Device& device, const Arguments& arguments) {
  // Only then the test may kill: everybody works, and some beats have told the others so.
  const auto ready = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  const Tensor x = Tensor::from<float>({100, 10}, values_of(0, 1000), &device);
  const bool misbehaves = device.communicator().rank() == arguments.rank;
  bool is_ready = false;
  for (std::int64_t step = 0;; ++step) {
    device.enter_layer(step % 5);
    all_reduce(x, {.topology = Topology::Ring});
    if (is_ready && misbehaves) {
      if (step % 5 == 0 && arguments.mode == "error") throw Error("[linear] the shapes do not fit");
      if (arguments.mode == "loop") loop(device, std::chrono::seconds(0));
      if (arguments.mode == "work") loop(device, kLongWork);
      if (arguments.mode == "leave") return;
    }
    if (!is_ready && std::chrono::steady_clock::now() > ready) {
      is_ready = true;
      std::ofstream(fmt::format("{}/{}.pid", arguments.folder, device.communicator().rank())) << getpid() << "\n";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

/// Rank 0 leads, as the front does: after a long pause it lets the others go on.
void run_pause(Device& device) {
  Communicator& communicator = device.communicator();
  communicator.progress().enter_pause("the pause between passes");
  std::byte command = {};
  if (communicator.rank() > 0) return communicator.receive(0, MessageTag::command, std::span(&command, 1));
  std::this_thread::sleep_for(kLongWork);
  for (std::int64_t rank = 1; rank < communicator.shape().num_devices(); ++rank)
    communicator.send(rank, MessageTag::command, std::span(&command, 1));
}

/// Each rank waits for a tensor of the one before it.
void wait_in_a_circle(Device& device) {
  const std::int64_t num_ranks = device.communicator().shape().num_devices();
  device.enter_layer(2);
  recv(device, {.from = (device.communicator().rank() + num_ranks - 1) % num_ranks});
}

void run(const Arguments& arguments) {
  MpiMesh mesh(arguments.shape);
  Communicator& communicator = *mesh.communicator();
  try {
    Device device(arguments.mode == "threads" ? 0 : 1, 0, mesh.communicator());
    if (arguments.mode == "collectives") run_collectives(device);
    if (std::ranges::find(kLayerModes, arguments.mode) != kLayerModes.end()) run_layers(device, arguments);
    if (arguments.mode == "pause") run_pause(device);
    if (arguments.mode == "circle") wait_in_a_circle(device);
    if (arguments.mode == "mismatch") agree(communicator, {{"store", communicator.rank() == arguments.rank ? "b" : "a"}});
    if (arguments.mode == "disorder" && communicator.rank() == arguments.rank) barrier(device);
    if (arguments.mode == "disorder") all_reduce(Tensor::zeros({4}, DataType::float32, &device), {});
    if (communicator.rank() == 0) fmt::print("ok, {} threads\n", device.team().size());
  } catch (const std::exception& error) {
    communicator.fail(error.what());
  }
}

}  // namespace
}  // namespace meshseek

int main(int argc, char** argv) {
  using namespace meshseek;
  try {
    run({.mode = argv[1],
         .shape = parse_mesh_shape(argv[2]),
         .folder = argc > 3 ? argv[3] : "",
         .rank = argc > 4 ? std::stoll(argv[4]) : -1});
  } catch (const std::exception& error) {
    fmt::print(stderr, "meshseek: {}\n", error.what());
    return 1;
  }
  return 0;
}

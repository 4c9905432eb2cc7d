#include "cli/bench_collectives.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "base/stopwatch.hpp"
#include "cli/bench_convert.hpp"
#include "mesh/communicator.hpp"
#include "mesh/device.hpp"
#include "mesh/mpi_mesh.hpp"
#include "mesh/threads/thread_mesh.hpp"
#include "mesh/threads/thread_watch.hpp"
#include "ops/collectives.hpp"
#include "stage3_run/other_devices.hpp"

namespace meshseek::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Case {
  std::string op;
  Topology topology;
  std::function<void(const Tensor& x)> run;  ///< x is the whole tensor
};

/// all_gather begins with this device's part, so that every row is about a tensor of the same size.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Topology topology : {Topology::Direct, Topology::Ring, Topology::Linear}) {
    all.push_back({"all_reduce", topology, [topology](const Tensor& x) { all_reduce(x, {.topology = topology}); }});
    all.push_back({"reduce_scatter", topology, [topology](const Tensor& x) { reduce_scatter(x, {.topology = topology, .dim = 0}); }});
    all.push_back({"all_gather", topology, [topology](const Tensor& x) {
                     const std::int64_t num = x.device()->communicator().shape().num_devices();
                     all_gather(x.slice_rows(0, x.dim(0) / num), {.topology = topology, .dim = 0});
                   }});
  }
  all.push_back({"all_to_all", Topology::Direct, [](const Tensor& x) { all_to_all(x, {.in_dim = 1, .out_dim = 0}); }});
  return all;
}

/// All devices of a row come here together. \return the row; its times hold on every device
CollectiveRow measure(Device& device, const Case& one, std::int64_t bytes, int num_reps) {
  constexpr std::int64_t kValues = 16;  // of a row of the tensor
  constexpr std::int64_t kBytesPerRep = 64 << 20;
  const std::int64_t num = device.communicator().shape().num_devices();
  const std::int64_t rows = round_up(std::max<std::int64_t>(1, bytes / (4 * kValues)), num);
  const std::int64_t calls = std::clamp<std::int64_t>(kBytesPerRep / bytes, 10, 500);
  const Tensor x = bench_input({rows, kValues}, device);
  CollectiveRow row = {.op = one.op, .topology = one.topology, .bytes = rows * kValues * 4};
  const std::int64_t sent_before = device.communicator().total_bytes_sent();
  one.run(x);
  row.bytes_sent = device.communicator().total_bytes_sent() - sent_before;
  std::vector<double> latencies;
  for (int rep = 0; rep < num_reps; ++rep) {
    barrier(device);
    const Clock::time_point begin = Clock::now();
    for (std::int64_t call = 0; call < calls; ++call) one.run(x);
    latencies.push_back(seconds_since(begin) / static_cast<double>(calls));
  }
  row.latency_s = median(latencies);
  row.bytes_per_s = static_cast<double>(row.bytes) / row.latency_s;
  return row;
}

std::vector<CollectiveRow> measure_all(Device& device, const BenchCollectivesOptions& options) {
  std::vector<CollectiveRow> rows;
  for (const Case& one : cases()) {
    for (const std::int64_t bytes : options.bytes) rows.push_back(measure(device, one, bytes, options.num_reps));
  }
  return rows;
}

}  // namespace

Tensor bench_input(const Shape& shape, Device& device) {
  std::vector<float> values(static_cast<std::size_t>(volume(shape)));
  for (std::size_t idx = 0; idx < values.size(); ++idx) values[idx] = 1.0F + static_cast<float>(idx % 7);
  return Tensor::from<float>(shape, values, &device);
}

std::vector<CollectiveRow> bench_collectives(const BenchCollectivesOptions& options) {
  if (is_mpi_rank()) {
    const MpiMesh mesh(options.mesh);
    Communicator& communicator = *mesh.communicator();
    try {
      Device device(options.num_threads, 0, mesh.communicator());
      std::vector<CollectiveRow> rows = measure_all(device, options);
      if (communicator.rank() != 0) rows.clear();
      return rows;
    } catch (...) {
      communicator.fail(message_of(std::current_exception()));
      throw;
    }
  }
  std::vector<std::unique_ptr<Device>> devices;
  const std::vector<std::shared_ptr<Communicator>> communicators = make_thread_mesh(options.mesh);
  const ThreadWatch watch(communicators);
  for (const auto& communicator : communicators) devices.push_back(std::make_unique<Device>(options.num_threads, 0, communicator));
  std::vector<std::jthread> others;
  for (std::size_t rank = 1; rank < devices.size(); ++rank) {
    others.emplace_back([&, rank] { measure_all(*devices[rank], options); });
  }
  return measure_all(*devices.front(), options);
}

}  // namespace meshseek::cli

/// Measures the collectives of a mesh by size of the tensor: in one process, or over the processes of an MPI launcher.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "mesh/device.hpp"
#include "mesh/mesh_shape.hpp"
#include "ops/collectives_config.hpp"

namespace meshseek::cli {

struct BenchCollectivesOptions {
  MeshShape mesh = {};
  std::vector<std::int64_t> bytes = {8 << 10, 128 << 10, 4 << 20};  ///< of the whole tensor, float32
  std::size_t num_threads = 1;                                      ///< of each device
  int num_reps = 3;
};

/// One collective over all devices at one size.
struct CollectiveRow {
  std::string op = {};
  Topology topology = Topology::Direct;
  std::int64_t bytes = 0;
  double latency_s = 0.0;       ///< of one call: median over the repetitions, each the mean of many calls in a row
  double bytes_per_s = 0.0;     ///< bytes / latency
  std::int64_t bytes_sent = 0;  ///< by rank 0 in one call
};

/// What is sent: float32 values other than zero. Memory that was never written would be read from one page of zeros, out of a cache.
Tensor bench_input(const Shape& shape, Device& device);

/// \return the rows on the process of rank 0, nothing on the others
std::vector<CollectiveRow> bench_collectives(const BenchCollectivesOptions& options);

}  // namespace meshseek::cli

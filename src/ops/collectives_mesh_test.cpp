// Collectives of several devices in one process, against plain loops over what all devices have.
#include <numeric>

#include "ops/collectives.hpp"
#include "ops/test_mesh.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;
using ::testing::HasSubstr;

constexpr std::array kMeshes = {MeshShape{1, 1}, MeshShape{1, 2}, MeshShape{3, 1}, MeshShape{2, 2}, MeshShape{1, 5},
                                MeshShape{2, 3}, MeshShape{7, 1}, MeshShape{4, 2}, MeshShape{1, 8}};
constexpr std::array kTopologies = {Topology::Direct, Topology::Ring, Topology::Linear};

/// What the device of a rank has.
Tensor input_of(const Device& device_of_rank, std::int64_t rank, const Shape& shape, DataType dtype = DataType::float32) {
  return random_activation(shape, 100 + static_cast<unsigned>(rank), const_cast<Device&>(device_of_rank), dtype);
}
Tensor my_input(Device& device, const Shape& shape, DataType dtype = DataType::float32) {
  return input_of(device, device.communicator().rank(), shape, dtype);
}

/// The inputs of a device's group, in order.
std::vector<std::vector<float>> inputs_of_group(Device& device, std::optional<std::int64_t> axis, const Shape& shape, DataType dtype) {
  std::vector<std::vector<float>> inputs;
  for (const std::int64_t rank : device.communicator().group(axis).ranks)
    inputs.push_back(to_float_vector(input_of(device, rank, shape, dtype)));
  return inputs;
}

std::vector<float> sum_of(const std::vector<std::vector<float>>& inputs) {
  std::vector<float> sum(inputs.front().size());
  for (std::size_t idx = 0; idx < sum.size(); ++idx) {
    for (const auto& input : inputs) sum[idx] += input[idx];
  }
  return sum;
}

/// The slice of a [outer, dim, inner] tensor.
std::vector<float> slice(const std::vector<float>& values, const Shape& shape, std::int64_t dim, std::int64_t begin, std::int64_t end) {
  std::vector<float> out;
  const std::int64_t inner = volume({shape.begin() + dim + 1, shape.end()});
  const std::int64_t size = shape[static_cast<std::size_t>(dim)];
  for (std::int64_t idx = 0; idx < static_cast<std::int64_t>(values.size()); ++idx) {
    const std::int64_t at = idx / inner % size;
    if (at >= begin && at < end) out.push_back(values[static_cast<std::size_t>(idx)]);
  }
  return out;
}

/// Joined along `dim`; `shapes` of the parts.
std::vector<float> joined(const std::vector<std::vector<float>>& parts, const std::vector<Shape>& shapes, std::int64_t dim) {
  std::vector<float> out;
  const std::int64_t outer = volume({shapes.front().begin(), shapes.front().begin() + dim});
  for (std::int64_t row = 0; row < outer; ++row) {
    for (std::size_t idx = 0; idx < parts.size(); ++idx) {
      const std::int64_t run = volume(shapes[idx]) / std::max<std::int64_t>(outer, 1);
      out.insert(out.end(), parts[idx].begin() + row * run, parts[idx].begin() + (row + 1) * run);
    }
  }
  return out;
}

/// Relative to the largest sum; what a type on the wire costs.
float tolerance_of(std::optional<DataType> wire, DataType dtype) {
  if (wire == DataType::bfloat8_b) return 0.05F;
  return wire == DataType::bfloat16 || dtype == DataType::bfloat16 ? 0.02F : 1e-6F;
}

void expect_near(const Tensor& y, const std::vector<float>& expected, float tolerance, const std::string& what) {
  const std::vector<float> values = to_float_vector(y);
  ASSERT_EQ(values.size(), expected.size()) << what;
  float largest = 1.0F;
  for (const float value : expected) largest = std::max(largest, std::abs(value));
  for (std::size_t idx = 0; idx < values.size(); ++idx)
    ASSERT_NEAR(values[idx], expected[idx], tolerance * largest) << what << " value " << idx;
}

std::string describe(const MeshShape& mesh, std::optional<std::int64_t> axis, Topology topology, const Shape& shape) {
  return to_string(mesh) + " axis " + std::to_string(axis.value_or(-1)) + " topology " + std::to_string(static_cast<int>(topology)) +
         " x " + to_string(shape);
}

/// Every mesh, axis and topology.
template <class Body>
void for_each_group(const Body& body) {
  for (const MeshShape& shape : kMeshes) {
    TestMesh mesh(shape);
    for (const std::optional<std::int64_t> axis :
         {std::optional<std::int64_t>{}, std::optional<std::int64_t>{0}, std::optional<std::int64_t>{1}}) {
      for (const Topology topology : kTopologies) body(mesh, shape, axis, topology);
    }
  }
}

TEST(MeshCollectives, AllReduceGivesThePlainSumOnEveryDeviceInTheSameBits) {
  for_each_group([](TestMesh& mesh, const MeshShape& mesh_shape, std::optional<std::int64_t> axis, Topology topology) {
    for (const Shape& shape : {Shape{3, 5}, Shape{1}, Shape{0, 8}, Shape{2, 7, 33}, Shape{1, 2048}, Shape{40, 500}}) {
      for (const std::optional<DataType> wire :
           {std::optional<DataType>{}, std::optional(DataType::bfloat16), std::optional(DataType::bfloat8_b)}) {
        const AllReduceConfig cfg = {.cluster_axis = axis,
                                     .topology = topology,
                                     .dtype = wire,
                                     .num_reduce_scatter_links = 2,
                                     .num_all_gather_links = 3,
                                     .use_composite = volume(shape) % 2 == 0};
        const auto results = mesh.run([&](Device& device) { return all_reduce(my_input(device, shape), cfg); });
        for (std::int64_t rank = 0; rank < mesh.size(); ++rank) {
          Device& device = mesh.device(rank);
          const auto expected = sum_of(inputs_of_group(device, axis, shape, DataType::float32));
          const Tensor& y = results[static_cast<std::size_t>(rank)];
          ASSERT_EQ(y.shape(), shape);
          expect_near(y, expected, tolerance_of(wire, DataType::float32) * static_cast<float>(mesh.size()),
                      describe(mesh_shape, axis, topology, shape));
          const auto first = static_cast<std::size_t>(device.communicator().group(axis).ranks.front());
          ASSERT_EQ(bits_of(y), bits_of(results[first])) << describe(mesh_shape, axis, topology, shape);
        }
      }
    }
  });
}

TEST(MeshCollectives, ReduceScatterGivesEveryDeviceItsSliceOfThePlainSum) {
  for_each_group([](TestMesh& mesh, const MeshShape& mesh_shape, std::optional<std::int64_t> axis, Topology topology) {
    for (const std::int64_t dim : {0, 1, 2}) {
      const std::int64_t num = mesh.device(0).communicator().group(axis).size();
      Shape shape = {3, 5, 7};
      shape[static_cast<std::size_t>(dim)] *= num;
      for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
        const ReduceScatterConfig cfg = {.cluster_axis = axis, .topology = topology, .dim = dim - 3, .num_links = 3};
        const auto results = mesh.run([&](Device& device) { return reduce_scatter(my_input(device, shape, dtype), cfg); });
        for (std::int64_t rank = 0; rank < mesh.size(); ++rank) {
          Device& device = mesh.device(rank);
          const std::int64_t position = device.communicator().group(axis).position;
          const std::int64_t size = shape[static_cast<std::size_t>(dim)] / num;
          const auto sum = sum_of(inputs_of_group(device, axis, shape, dtype));
          expect_near(results[static_cast<std::size_t>(rank)], slice(sum, shape, dim, position * size, (position + 1) * size),
                      tolerance_of({}, dtype) * static_cast<float>(num), describe(mesh_shape, axis, topology, shape));
        }
      }
    }
  });
}

TEST(MeshCollectives, AllGatherJoinsInTheOrderOfTheDevicesAlsoUnevenParts) {
  for_each_group([](TestMesh& mesh, const MeshShape& mesh_shape, std::optional<std::int64_t> axis, Topology topology) {
    for (const std::int64_t dim : {0, 1, 2}) {
      for (const bool uneven : {false, true}) {
        const auto shape_of = [&](std::int64_t rank) {
          Shape shape = {2, 3, 5};
          if (uneven) shape[static_cast<std::size_t>(dim)] = rank % 3 * 2;  // also none
          return shape;
        };
        const AllGatherConfig cfg = {.cluster_axis = axis, .topology = topology, .dim = dim, .uneven = uneven, .num_links = 2};
        const auto results =
            mesh.run([&](Device& device) { return all_gather(my_input(device, shape_of(device.communicator().rank())), cfg); });
        for (std::int64_t rank = 0; rank < mesh.size(); ++rank) {
          Device& device = mesh.device(rank);
          std::vector<std::vector<float>> parts;
          std::vector<Shape> shapes;
          for (const std::int64_t other : device.communicator().group(axis).ranks) {
            shapes.push_back(shape_of(other));
            parts.push_back(to_float_vector(input_of(device, other, shapes.back())));
          }
          ASSERT_EQ(to_float_vector(results[static_cast<std::size_t>(rank)]), joined(parts, shapes, dim))
              << describe(mesh_shape, axis, topology, shape_of(rank)) << " dim " << dim;
        }
      }
    }
  });
}

TEST(MeshCollectives, AllToAllSharesOutOneDimensionAndJoinsAnother) {
  for_each_group([](TestMesh& mesh, const MeshShape& mesh_shape, std::optional<std::int64_t> axis, Topology topology) {
    if (topology != Topology::Direct) return;
    const std::int64_t num = mesh.device(0).communicator().group(axis).size();
    for (const auto& [in_dim, out_dim] : {std::pair{0, 1}, std::pair{1, 0}, std::pair{2, 0}, std::pair{0, 2}, std::pair{1, 2}}) {
      Shape shape = {2, 3, 5};
      shape[static_cast<std::size_t>(out_dim)] *= num;
      const std::int64_t size = shape[static_cast<std::size_t>(out_dim)] / num;
      const AllToAllConfig cfg = {.cluster_axis = axis, .in_dim = in_dim, .out_dim = out_dim};
      const AllToAllConfig back = {.cluster_axis = axis, .in_dim = out_dim, .out_dim = in_dim};
      const auto results = mesh.run([&](Device& device) { return all_to_all(my_input(device, shape), cfg); });
      for (std::int64_t rank = 0; rank < mesh.size(); ++rank) {
        Device& device = mesh.device(rank);
        const std::int64_t position = device.communicator().group(axis).position;
        std::vector<std::vector<float>> parts;
        for (const auto& input : inputs_of_group(device, axis, shape, DataType::float32))
          parts.push_back(slice(input, shape, out_dim, position * size, (position + 1) * size));
        Shape part = shape;
        part[static_cast<std::size_t>(out_dim)] = size;
        ASSERT_EQ(to_float_vector(results[static_cast<std::size_t>(rank)]),
                  joined(parts, std::vector<Shape>(static_cast<std::size_t>(num), part), in_dim))
            << describe(mesh_shape, axis, topology, shape) << " in " << in_dim << " out " << out_dim;
      }
      const auto again =
          mesh.run([&](Device& device) { return all_to_all(results[static_cast<std::size_t>(device.communicator().rank())], back); });
      for (std::int64_t rank = 0; rank < mesh.size(); ++rank)
        ASSERT_EQ(bits_of(again[static_cast<std::size_t>(rank)]), bits_of(input_of(mesh.device(rank), rank, shape)));
    }
  });
}

TEST(MeshCollectives, RowsGoToWhomTheyAreForInTheOrderOfTheSenders) {
  for_each_group([](TestMesh& mesh, const MeshShape& mesh_shape, std::optional<std::int64_t> axis, Topology topology) {
    if (topology != Topology::Direct) return;
    constexpr std::int64_t kWidth = 6;
    const auto count = [](std::int64_t from, std::int64_t to) { return (from * 5 + to * 3) % 4; };
    const auto results = mesh.run([&](Device& device) {
      const MeshGroup& group = device.communicator().group(axis);
      std::vector<std::int64_t> counts;
      std::vector<float> values;
      for (std::int64_t to = 0; to < group.size(); ++to) {
        counts.push_back(count(group.position, to));
        for (std::int64_t idx = 0; idx < counts.back() * kWidth; ++idx) values.push_back(static_cast<float>(group.position * 100 + to));
      }
      const std::int64_t num_rows = static_cast<std::int64_t>(values.size()) / kWidth;
      return all_to_all_rows(activation(values, {num_rows, kWidth}, device), counts, {.cluster_axis = axis});
    });
    for (std::int64_t rank = 0; rank < mesh.size(); ++rank) {
      const MeshGroup& group = mesh.device(rank).communicator().group(axis);
      const ReceivedRows& received = results[static_cast<std::size_t>(rank)];
      std::vector<float> expected;
      for (std::int64_t from = 0; from < group.size(); ++from) {
        ASSERT_EQ(received.receive_counts[static_cast<std::size_t>(from)], count(from, group.position));
        expected.insert(expected.end(), static_cast<std::size_t>(count(from, group.position) * kWidth),
                        static_cast<float>(from * 100 + group.position));
      }
      ASSERT_EQ(to_float_vector(received.rows), expected) << describe(mesh_shape, axis, topology, {});
    }
  });
}

TEST(MeshCollectives, EveryRootsTensorComesToAll) {
  for_each_group([](TestMesh& mesh, const MeshShape& mesh_shape, std::optional<std::int64_t> axis, Topology topology) {
    const std::int64_t num = mesh.device(0).communicator().group(axis).size();
    for (std::int64_t root = 0; root < num; ++root) {
      const BroadcastConfig cfg = {.cluster_axis = axis, .topology = topology, .root = root, .num_links = 2};
      const auto results = mesh.run([&](Device& device) { return broadcast(my_input(device, {3, 7}), cfg); });
      for (std::int64_t rank = 0; rank < mesh.size(); ++rank) {
        Device& device = mesh.device(rank);
        const std::int64_t source = device.communicator().group(axis).ranks[static_cast<std::size_t>(root)];
        ASSERT_EQ(bits_of(results[static_cast<std::size_t>(rank)]), bits_of(input_of(device, source, {3, 7})))
            << describe(mesh_shape, axis, topology, {3, 7});
      }
    }
  });
}

TEST(MeshCollectives, ATensorIsPassedFromRowToRowWithItsShapeAndType) {
  TestMesh mesh({3, 2});
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const auto results = mesh.run([&](Device& device) {
      const std::int64_t row = device.communicator().row();
      Tensor x = my_input(device, {2, 3, 4}, dtype);
      if (row > 0) x = recv(device, {.cluster_axis = 0, .from = row - 1});
      if (row < 2) send(x, {.cluster_axis = 0, .to = row + 1});
      return x;
    });
    for (std::int64_t rank = 0; rank < mesh.size(); ++rank) {
      EXPECT_EQ(results[static_cast<std::size_t>(rank)].dtype(), dtype);
      EXPECT_EQ(bits_of(results[static_cast<std::size_t>(rank)]), bits_of(input_of(mesh.device(rank), rank % 2, {2, 3, 4}, dtype)));
    }
  }
}

TEST(MeshCollectives, IntegersAreMovedAsTheyAre) {
  TestMesh mesh({1, 3});
  const auto results = mesh.run([&](Device& device) {
    const std::vector<std::int32_t> ids = {static_cast<std::int32_t>(device.communicator().rank()), -7};
    return all_gather(Tensor::from<std::int32_t>({1, 2}, ids, &device), {.dim = 0});
  });
  const auto values = results[1].data<std::int32_t>();
  EXPECT_EQ(std::vector<std::int32_t>(values.begin(), values.end()), (std::vector<std::int32_t>{0, -7, 1, -7, 2, -7}));
}

/// Bytes that every device sends in one call of `body`.
template <class Body>
std::vector<std::int64_t> traffic_of(TestMesh& mesh, const Body& body) {
  std::vector<std::int64_t> before;
  for (std::int64_t rank = 0; rank < mesh.size(); ++rank) before.push_back(mesh.device(rank).communicator().total_bytes_sent());
  mesh.run([&](Device& device) { return body(device); });
  std::vector<std::int64_t> sent;
  for (std::int64_t rank = 0; rank < mesh.size(); ++rank)
    sent.push_back(mesh.device(rank).communicator().total_bytes_sent() - before[static_cast<std::size_t>(rank)]);
  return sent;
}

TEST(MeshCollectives, ARingSendsTwiceAllButOneOfItsPartsAndOnlyToTheNextDevice) {
  constexpr std::int64_t kBytes = 4 * 8 * 3 * 5 * 7 * 16;
  for (const std::int64_t num : {2, 3, 4, 5, 7, 8}) {
    TestMesh mesh({1, num});
    for (const std::int64_t links : {1, 4}) {
      const AllReduceConfig cfg = {.topology = Topology::Ring, .num_reduce_scatter_links = links, .num_all_gather_links = links};
      if (kBytes / 64 % num != 0) continue;  // the parts would differ
      for (const std::int64_t sent : traffic_of(mesh, [&](Device& device) { return all_reduce(my_input(device, {kBytes / 4}), cfg); }))
        EXPECT_EQ(sent, 2 * (num - 1) * kBytes / num) << num << " devices";
    }
    for (std::int64_t rank = 0; rank < num; ++rank) {
      const auto sent = mesh.device(rank).communicator().bytes_sent();
      EXPECT_EQ(sent[static_cast<std::size_t>((rank + 1) % num)], mesh.device(rank).communicator().total_bytes_sent());
    }
  }
}

TEST(MeshCollectives, AWireOfHalfTheWidthHalvesTheTraffic) {
  TestMesh mesh({1, 4});
  const auto sent = [&](std::optional<DataType> wire, Topology topology) {
    return traffic_of(mesh, [&](Device& device) {
      return all_reduce(my_input(device, {64, 512}), {.topology = topology, .dtype = wire});
    })[0];
  };
  for (const Topology topology : kTopologies) {
    EXPECT_EQ(sent(DataType::bfloat16, topology) * 2, sent(DataType::float32, topology));
    EXPECT_EQ(sent(DataType::bfloat8_b, topology) * 64, sent(DataType::float32, topology) * 17);
  }
}

TEST(MeshCollectives, MeshPartitionGivesEveryDeviceItsSliceAndSendsNothing) {
  for_each_group([](TestMesh& mesh, const MeshShape& mesh_shape, std::optional<std::int64_t> axis, Topology topology) {
    if (topology != Topology::Direct) return;
    const std::int64_t num = mesh.device(0).communicator().group(axis).size();
    const Shape shape = {3, 5 * num, 2};
    std::vector<Tensor> results;
    const auto sent = traffic_of(mesh, [&](Device& device) {
      const Tensor y = mesh_partition(input_of(device, 0, shape), {.cluster_axis = axis, .dim = 1});
      const std::int64_t position = device.communicator().group(axis).position;
      EXPECT_EQ(to_float_vector(y), slice(to_float_vector(input_of(device, 0, shape)), shape, 1, position * 5, (position + 1) * 5))
          << describe(mesh_shape, axis, topology, shape);
      return y;
    });
    EXPECT_EQ(sent, std::vector<std::int64_t>(static_cast<std::size_t>(mesh.size()), 0));
  });
}

TEST(MeshCollectives, EveryCallIsReportedWithItsLayerAndBytes) {
  TestMesh mesh({1, 2});
  std::vector<CollectiveRecord> records;
  mesh.device(1).communicator().set_observer([&](const CollectiveRecord& record) { records.push_back(record); });
  mesh.run([](Device& device) {
    device.enter_layer(4);
    return all_gather(my_input(device, {2, 8}), {.dtype = DataType::bfloat16});
  });
  ASSERT_EQ(records.size(), 1U);
  EXPECT_EQ(records[0].op, "all_gather");
  EXPECT_EQ(records[0].layer_idx, 4);
  EXPECT_EQ(records[0].bytes_sent, 2 * 8 * 2);
  EXPECT_GE(records[0].end, records[0].begin);
}

TEST(MeshCollectives, ADeviceThatDoesNotFitEndsTheWaitOfTheOthers) {
  // More than once: who finds it first, and who reads whose memory then, is a matter of timing.
  for (int round = 0; round < 20; ++round) {
    TestMesh mesh({1, 3});
    const std::string message = message_of([&] {
      mesh.run([](Device& device) { return all_reduce(my_input(device, {4, device.communicator().rank() == 2 ? 9 : 8}), {}); });
    });
    EXPECT_THAT(message, HasSubstr("equal shape"));
    for (const std::exception_ptr& error : mesh.errors()) EXPECT_TRUE(error);
  }
  TestMesh other({1, 3});
  EXPECT_THAT(message_of([&] { other.run([](Device& device) {
                                 return reduce_scatter(my_input(device, {4, 8}), {});
                               }); }),
              HasSubstr("[reduce_scatter] dimension 1 of x [4, 8] is shared out over 3 devices; expected a multiple of 3: pad it"));
}

}  // namespace
}  // namespace meshseek

// What is read from the files of TTNN 0.81.1, in full: each field of each header, and the values of every shard by their SHA-256.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::uint32_t>;

Path folder() { return Path(MESHSEEK_SOURCE_DIR) / "tests" / "data" / "ttnn"; }

Json read_manifest() { return Json::parse(read_text_file(folder() / "manifest.json")); }

template <class T>
std::string raw_values(const std::vector<float>& values) {
  std::vector<T> converted;
  for (const float value : values) converted.push_back(static_cast<T>(value));
  return {reinterpret_cast<const char*>(converted.data()), converted.size() * sizeof(T)};
}

/// The bytes of a shard's values in the type into which TTNN unpacked them.
std::string unpacked_bytes(const Tensor& tensor, const std::string& type) {
  const std::vector<float> values = to_float_vector(tensor);
  if (type == "uint32") return raw_values<std::uint32_t>(values);
  if (type == "int32") return raw_values<std::int32_t>(values);
  if (type == "uint16") return raw_values<std::uint16_t>(values);
  if (type == "uint8") return raw_values<std::uint8_t>(values);
  EXPECT_EQ(type, "float32");
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

/// The number of "BFloat8B(3)"; 0 when the field is absent, as FlatBuffers leaves defaults out.
int enum_of(const Json& table, const char* field) {
  if (!table.contains(field)) return 0;
  const std::string text = table.at(field);
  return std::stoi(text.substr(text.find('(') + 1));
}

CoreRangeSet grid_of(const Json& spec) {
  const auto coordinate = [](const Json& coord) { return CoreCoord{coord.value("x", 0), coord.value("y", 0)}; };
  CoreRangeSet grid;
  for (const Json& range : spec.at("grid").at("ranges")) grid.push_back({coordinate(range.at("start")), coordinate(range.at("end"))});
  return grid;
}

MemoryConfig memory_config_of(const Json& table) {
  MemoryConfig config = {.memory_layout = static_cast<TensorMemoryLayout>(enum_of(table, "memory_layout")),
                         .buffer_type = static_cast<BufferType>(enum_of(table, "buffer_type")),
                         .created_with_nd_shard_spec = table.value("created_with_nd_shard_spec", false)};
  if (table.contains("shard_spec")) {
    const Json& spec = table.at("shard_spec");
    config.shard_spec = ShardSpec{grid_of(spec),
                                  {spec.at("shape_h").get<std::uint32_t>(), spec.at("shape_w").get<std::uint32_t>()},
                                  static_cast<ShardOrientation>(enum_of(spec, "orientation"))};
  }
  if (table.contains("nd_shard_spec")) {
    const Json& spec = table.at("nd_shard_spec");
    config.nd_shard_spec =
        NdShardSpec{spec.at("shard_shape").get<Words>(), grid_of(spec), static_cast<ShardOrientation>(enum_of(spec, "orientation")),
                    static_cast<ShardDistributionStrategy>(enum_of(spec, "shard_distribution_strategy"))};
  }
  return config;
}

void expect_spec(const TensorFileHeader& header, const Json& spec) {
  const Json& layout = spec.at("tensor_layout");
  EXPECT_EQ(header.shape, spec.at("shape").get<std::vector<std::int64_t>>());
  EXPECT_EQ(static_cast<int>(header.dtype), enum_of(layout, "data_type"));
  EXPECT_EQ(static_cast<int>(header.layout) + 1, enum_of(layout, "page_config_type"));
  EXPECT_EQ(header.alignment, layout.at("alignment").get<Words>());
  EXPECT_TRUE(header.memory_config == memory_config_of(layout.at("memory_config")));
}

void expect_shards(const TensorFileHeader& header, const Json& golden) {
  EXPECT_EQ(header.mesh_shape, golden.at("mesh_shape").at("dimensions").get<Words>());
  ASSERT_EQ(header.shards.size(), golden.at("shards").size());
  for (std::size_t idx = 0; idx < header.shards.size(); ++idx) {
    const Json& shard = golden.at("shards")[idx];
    EXPECT_EQ(header.shards[idx].mesh_coordinate, shard.at("mesh_coordinate").at("values").get<Words>()) << idx;
    EXPECT_EQ(header.shards[idx].offset, shard.at("buffer").at("offset").get<std::uint64_t>()) << idx;
    EXPECT_EQ(header.shards[idx].size, shard.at("buffer").at("size").get<std::uint64_t>()) << idx;
  }
}

void expect_topology(const TensorFileHeader& header, const Json& topology) {
  EXPECT_EQ(header.distribution_shape, topology.at("distribution_shape").at("dimensions").get<Words>());
  std::vector<Placement> placements;
  for (const Json& entry : topology.at("placements")) {
    placements.push_back(enum_of(entry, "type") == 1 ? Placement{entry.value("tensor_dim", 0)} : Placement{});
  }
  EXPECT_TRUE(header.placements == placements);
  std::vector<Words> coordinates;
  for (const Json& entry : topology.at("mesh_coords")) coordinates.push_back(entry.at("values").get<Words>());
  EXPECT_EQ(header.mesh_coords, coordinates);
}

TEST(TtnnReading, EveryHeaderFieldIsReadAsTtnnWroteIt) {
  std::size_t compared = 0;
  const Json manifest = read_manifest();
  for (const Json& golden : manifest.at("cases")) {
    if (!golden.contains("header")) continue;
    SCOPED_TRACE(golden.at("file").get<std::string>());
    const TensorFile file(folder() / golden.at("file").get<std::string>());
    const Json& header = golden.at("header");
    expect_spec(file.header(), header.at("tensor_spec"));
    expect_shards(file.header(), header);
    expect_topology(file.header(), header.at("tensor_topology"));
    ++compared;
  }
  EXPECT_EQ(compared, 63U);
}

TEST(TtnnReading, EveryShardHoldsTheValuesThatTtnnUnpacked) {
  ASSERT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::size_t files = 0;
  const Json manifest = read_manifest();
  for (const Json& golden : manifest.at("cases")) {
    const std::string name = golden.at("file");
    const TensorFile file(folder() / name);
    const Json& hashes = golden.at("unpacked_sha256");
    ASSERT_EQ(file.header().shards.size(), hashes.is_array() ? hashes.size() : 1U) << name;
    for (std::size_t idx = 0; idx < file.header().shards.size(); ++idx) {
      const std::string expected = hashes.is_array() ? hashes[idx] : hashes;
      EXPECT_EQ(sha256_hex(unpacked_bytes(file.shard(idx), golden.at("unpacked_dtype"))), expected) << name << " shard " << idx;
    }
    ++files;
  }
  EXPECT_EQ(files, 65U);
}

}  // namespace
}  // namespace meshseek

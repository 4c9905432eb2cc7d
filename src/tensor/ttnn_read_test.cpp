// What is read from the files of TTNN 0.81.1, in full: each field of each header, and the values of every shard by their SHA-256.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::uint32_t>;

Path folder() { return Path(MESHSEEK_SOURCE_DIR) / "tests" / "data" / "ttnn"; }

Json read_manifest() { return Json::parse(read_text_file(folder() / "manifest.json")); }

constexpr std::array<std::uint32_t, 64> kRounds = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using State = std::array<std::uint32_t, 8>;

void hash_block(State& state, const unsigned char* block) {
  std::array<std::uint32_t, 64> w = {};
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] = std::uint32_t{block[4 * i]} << 24 | std::uint32_t{block[4 * i + 1]} << 16 | std::uint32_t{block[4 * i + 2]} << 8 | block[4 * i + 3];
  }
  for (std::size_t i = 16; i < 64; ++i) {
    const std::uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const std::uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  State v = state;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t s1 = std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25);
    const std::uint32_t first = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + kRounds[i] + w[i];
    const std::uint32_t s0 = std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22);
    v = {first + s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])), v[0], v[1], v[2], v[3] + first, v[4], v[5], v[6]};
  }
  for (std::size_t i = 0; i < 8; ++i) state[i] += v[i];
}

std::string sha256(std::string text) {
  const std::uint64_t bits = std::uint64_t{text.size()} * 8;
  text += '\x80';
  while (text.size() % 64 != 56) text += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(bits >> shift);
  State state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (std::size_t at = 0; at < text.size(); at += 64) hash_block(state, reinterpret_cast<const unsigned char*>(text.data()) + at);
  std::string hex;
  for (const std::uint32_t word : state) hex += fmt::format("{:08x}", word);
  return hex;
}

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
    config.nd_shard_spec = NdShardSpec{spec.at("shard_shape").get<Words>(), grid_of(spec), static_cast<ShardOrientation>(enum_of(spec, "orientation")),
                                       static_cast<ShardDistributionStrategy>(enum_of(spec, "shard_distribution_strategy"))};
  }
  return config;
}

void expect_spec(const TensorFileHeader& header, const Json& spec) {
  const Json& layout = spec.at("tensor_layout");
  EXPECT_EQ(header.shape, spec.at("shape").get<Shape>());
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
  ASSERT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  std::size_t files = 0;
  const Json manifest = read_manifest();
  for (const Json& golden : manifest.at("cases")) {
    const std::string name = golden.at("file");
    const TensorFile file(folder() / name);
    const Json& hashes = golden.at("unpacked_sha256");
    ASSERT_EQ(file.header().shards.size(), hashes.is_array() ? hashes.size() : 1U) << name;
    for (std::size_t idx = 0; idx < file.header().shards.size(); ++idx) {
      const std::string expected = hashes.is_array() ? hashes[idx] : hashes;
      EXPECT_EQ(sha256(unpacked_bytes(file.shard(idx), golden.at("unpacked_dtype"))), expected) << name << " shard " << idx;
    }
    ++files;
  }
  EXPECT_EQ(files, 65U);
}

}  // namespace
}  // namespace meshseek

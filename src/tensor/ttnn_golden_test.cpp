// Every file that TTNN 0.81.1 wrote, read to the same values and written to the same bytes (tests/data/ttnn/manifest.json).
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/mapped_file.hpp"
#include "tensor/block_float.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

using Json = nlohmann::json;

Path folder() { return Path(MESHSEEK_SOURCE_DIR) / "tests" / "data" / "ttnn"; }

const Json& manifest() {
  static const Json json = [] {
    std::ifstream file(folder() / "manifest.json");
    return Json::parse(file);
  }();
  return json;
}

std::vector<std::byte> read_bytes(const Path& path) {
  const MappedFile file(path);
  return {file.bytes().begin(), file.bytes().end()};
}

std::vector<float> read_floats(const std::string& name) {
  const std::vector<std::byte> bytes = read_bytes(folder() / name);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// The generated input of the manifest: a hash of the index as float bits.
std::vector<float> hash_input() {
  std::vector<float> values(576 * 200);
  for (std::uint32_t idx = 0; idx < values.size(); ++idx) {
    std::uint32_t h = idx * 2654435761U + 0x9e3779b9U;
    h ^= h >> 15;
    h *= 2246822519U;
    h ^= h >> 13;
    values[idx] = std::bit_cast<float>((h & 0x807fffffU) | ((112U + ((h >> 23) & 15U)) << 23));
  }
  return values;
}

struct Input {
  std::vector<float> values;
  Shape shape;
};

Input input_of(const Json& golden) {
  const std::string name = golden.at("name");
  if (name == "iota_4x25") {
    std::vector<float> values(100);
    for (int idx = 0; idx < 100; ++idx) {
      const int value = 7 * idx;
      values[static_cast<std::size_t>(idx)] = static_cast<float>(golden.at("dtype") == "int32"   ? value - 300
                                                                 : golden.at("dtype") == "uint8" ? value % 256
                                                                                                 : value);
    }
    return {values, {4, 25}};
  }
  if (name == "mesh1x2_s0_pad64") {
    std::vector<float> values = read_floats("r3_3x33x17.in.f32");
    values.resize(6);
    return {values, {2, 3}};
  }
  const std::string input = golden.at("input");
  const Json& entry = manifest().at("inputs").at(input);
  return {input == "hash_576x200" ? hash_input() : read_floats(entry.at("file")), entry.at("shape").get<std::vector<std::int64_t>>()};
}

Layout layout_of(const Json& golden) { return golden.at("layout") == "TILE" ? Layout::tile : Layout::row_major; }

/// TTNN rounds float32 sources of core-sharded tensors to bf16 first; bf16 sources are bf16 anyway.
bool rounds_to_bf16(const Json& golden) {
  const std::string name = golden.at("name");
  const bool core_sharded = name.starts_with("mem_") && name != "mem_l1_interleaved" && golden.at("dtype") != "float32";
  return core_sharded || golden.at("source_dtype") == "bfloat16";
}

MemoryConfig memory_config_of(const std::string& name) {
  const auto sharded = [](TensorMemoryLayout layout, BufferType buffer, CoreCoord end, std::vector<std::uint32_t> shape) {
    const CoreRangeSet grid = {{{0, 0}, end}};
    return MemoryConfig{
        .memory_layout = layout,
        .buffer_type = buffer,
        .shard_spec = ShardSpec{grid, shape, ShardOrientation::ROW_MAJOR},
        // A block-sharded tensor is laid out on its grid, the others round robin.
        .nd_shard_spec = NdShardSpec{
            shape, grid, ShardOrientation::ROW_MAJOR,
            layout == TensorMemoryLayout::BLOCK_SHARDED ? ShardDistributionStrategy::GRID_2D : ShardDistributionStrategy::ROUND_ROBIN_1D}};
  };
  if (name == "mem_l1_interleaved") return {.buffer_type = BufferType::L1};
  if (name == "mem_width_dram") return sharded(TensorMemoryLayout::WIDTH_SHARDED, BufferType::DRAM, {3, 0}, {64, 32});
  if (name == "mem_height_l1") return sharded(TensorMemoryLayout::HEIGHT_SHARDED, BufferType::L1, {1, 0}, {32, 128});
  if (name == "mem_block_l1") return sharded(TensorMemoryLayout::BLOCK_SHARDED, BufferType::L1, {1, 1}, {32, 64});
  if (name == "mem_nd_dram") {
    return {.memory_layout = TensorMemoryLayout::ND_SHARDED,
            .nd_shard_spec = NdShardSpec{{32, 64}, {{{0, 0}, {3, 0}}}},
            .created_with_nd_shard_spec = true};
  }
  return {};
}

/// Rows [r0, r0 + rows) and columns [c0, c0 + cols) of a matrix.
std::vector<float> block_of(const Input& input, std::int64_t r0, std::int64_t rows, std::int64_t c0, std::int64_t cols) {
  std::vector<float> values;
  for (std::int64_t row = r0; row < r0 + rows; ++row) {
    const auto begin = input.values.begin() + row * input.shape[1] + c0;
    values.insert(values.end(), begin, begin + cols);
  }
  return values;
}

struct MeshCase {
  std::vector<std::uint32_t> mesh;
  std::vector<std::uint32_t> distribution;
  std::vector<Placement> placements;
};

MeshCase mesh_case_of(const std::string& name) {
  const Placement replicate;
  const auto shard = [](std::int32_t dim) { return Placement{dim}; };
  if (name == "mesh2x4_s0_s1") return {{2, 4}, {2, 4}, {shard(0), shard(1)}};
  if (name == "mesh2x4_r_s1") return {{2, 4}, {2, 4}, {replicate, shard(1)}};
  if (name == "mesh2x4_s0_r") return {{2, 4}, {2, 4}, {shard(0), replicate}};
  if (name == "mesh2x4_r_r") return {{2, 4}, {2, 4}, {replicate, replicate}};
  if (name == "mesh2x4_flat8_s1") return {{2, 4}, {8}, {shard(1)}};
  if (name == "mesh1x2_s0_pad64") return {{1, 2}, {1, 2}, {replicate, shard(0)}};
  ADD_FAILURE() << "unknown mesh case " << name;
  return {};
}

void write_mesh_case(const Path& path, const Json& golden, const Input& input, DataType dtype) {
  const MeshCase mesh = mesh_case_of(golden.at("name"));
  Shape pieces = {1, 1};
  for (std::size_t axis = 0; axis < mesh.placements.size(); ++axis) {
    if (mesh.placements[axis].shard_dim) pieces[static_cast<std::size_t>(*mesh.placements[axis].shard_dim)] *= mesh.distribution[axis];
  }
  const std::int64_t rows = input.shape[0] / pieces[0];
  const std::int64_t cols = input.shape[1] / pieces[1];
  std::vector<std::vector<std::byte>> buffers;
  for (std::int64_t row = 0; row < pieces[0]; ++row) {
    for (std::int64_t col = 0; col < pieces[1]; ++col) {
      buffers.push_back(encode(block_of(input, row * rows, rows, col * cols, cols), {rows, cols}, dtype, layout_of(golden)));
    }
  }
  TensorFileHeader header = {.shape = {rows, cols}, .dtype = dtype, .layout = layout_of(golden)};
  header.alignment = layout_of(golden) == Layout::tile ? std::vector<std::uint32_t>{32, 32} : std::vector<std::uint32_t>{1};
  header.mesh_shape = mesh.mesh;
  header.distribution_shape = mesh.distribution;
  header.placements = mesh.placements;
  std::vector<std::size_t> buffer_of_shard;
  for (std::uint32_t device = 0; device < mesh.mesh[0] * mesh.mesh[1]; ++device) {
    const std::vector<std::uint32_t> coordinate = {device / mesh.mesh[1], device % mesh.mesh[1]};
    header.shards.push_back({.mesh_coordinate = coordinate});
    header.mesh_coords.push_back(coordinate);
    std::size_t index = 0;  // row-major over the shard axes of the distribution
    for (std::size_t axis = 0; axis < mesh.placements.size(); ++axis) {
      const std::size_t position = mesh.distribution.size() == 1 ? device : coordinate[axis];
      if (mesh.placements[axis].shard_dim) index = index * mesh.distribution[axis] + position;
    }
    buffer_of_shard.push_back(index);
  }
  const std::vector<std::span<const std::byte>> views(buffers.begin(), buffers.end());
  write_tensor_file(path, header, views, buffer_of_shard);
}

void write_case(const Path& path, const Json& golden, Input input) {
  const DataType dtype = parse_dtype(golden.at("dtype").get<std::string>());
  const std::string name = golden.at("name");
  if (rounds_to_bf16(golden)) {
    for (float& value : input.values) value = round_to_bf16(value);
  }
  if (name.starts_with("mesh")) return write_mesh_case(path, golden, input, dtype);
  const Layout layout = layout_of(golden);
  const auto shape = golden.at("shape").get<std::vector<std::int64_t>>();
  // A float32 tensor holds any bit pattern, NaN payloads included: its bytes are copied, not converted.
  std::vector<std::byte> storage;
  if (name.starts_with("coltilize"))
    storage = encode_col_tilize(input.values, input.shape, dtype, layout);
  else
    storage = encode(input.values, shape, dtype, layout, name.starts_with("pad3") ? 3.0F : 0.0F);
  write_tensor_file(path, shape, dtype, layout, storage, memory_config_of(name));
}

TEST(TtnnGoldens, EveryFileIsRebuiltByteForByteFromItsInput) {
  const Path out = std::filesystem::temp_directory_path() / ("meshseek-ttnn-" + std::to_string(::getpid()) + ".tensorbin");
  std::size_t rebuilt = 0;
  for (const Json& golden : manifest().at("cases")) {
    if (golden.at("name") == "decode_all") continue;  // data made by hand, not encoded from values
    const std::string file = golden.at("file");
    write_case(out, golden, input_of(golden));
    EXPECT_TRUE(read_bytes(out) == read_bytes(folder() / file)) << file;
    ++rebuilt;
  }
  std::filesystem::remove(out);
  EXPECT_EQ(rebuilt + 2, manifest().at("cases_count").get<std::size_t>());
}

/// Bit patterns must agree; a NaN may differ in nothing either.
void expect_same_bits(const std::vector<float>& actual, const std::vector<float>& expected, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  EXPECT_EQ(std::memcmp(actual.data(), expected.data(), actual.size() * sizeof(float)), 0) << what;
}

TEST(TtnnGoldens, EveryFileIsReadToTheValuesThatTtnnReads) {
  std::size_t compared = 0;
  for (const Json& golden : manifest().at("cases")) {
    const std::string file_name = golden.at("file");
    const TensorFile file(folder() / file_name);
    EXPECT_EQ(to_string(file.header().dtype), golden.at("dtype").get<std::string>()) << file_name;
    EXPECT_EQ(file.header().layout, layout_of(golden)) << file_name;
    if (golden.contains("header")) {
      EXPECT_EQ(file.header().shape, golden.at("header").at("tensor_spec").at("shape").get<std::vector<std::int64_t>>()) << file_name;
      EXPECT_EQ(file.header().shards.size(), golden.at("header").at("shards").size()) << file_name;
    }
    if (!golden.contains("unpacked_file")) continue;
    expect_same_bits(to_float_vector(file.shard()), read_floats(golden.at("unpacked_file")), file_name);
    ++compared;
  }
  EXPECT_GE(compared, 30U);
}

TEST(TtnnGoldens, TheBlockEncoderReproducesThePackersRows) {
  for (const Json& vector : manifest().at("bfp_row_vectors")) {
    float values[16];
    for (std::size_t idx = 0; idx < 16; ++idx) {
      values[idx] = std::bit_cast<float>(static_cast<std::uint32_t>(std::stoul(vector.at("in_bits")[idx].get<std::string>(), nullptr, 16)));
    }
    for (const auto& [name, bits] : {std::pair{"bfp8", 7}, std::pair{"bfp4", 3}}) {
      std::uint8_t codes[16];
      const std::uint8_t shared = encode_block(values, bits, codes);
      const Json& expected = vector.at(name);
      EXPECT_EQ(shared, std::stoul(expected.at("shared").get<std::string>(), nullptr, 16)) << vector.dump();
      const std::string data = expected.at("data");
      for (std::size_t idx = 0; idx < 16; ++idx) {
        const std::size_t byte = bits == 7 ? idx : idx / 2;
        const unsigned long packed = std::stoul(data.substr(2 * byte, 2), nullptr, 16);
        EXPECT_EQ(codes[idx], bits == 7 ? packed : (idx % 2 == 0 ? packed & 15U : packed >> 4)) << vector.dump();
      }
    }
  }
}

}  // namespace
}  // namespace meshseek

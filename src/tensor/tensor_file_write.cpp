#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "base/file.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"
#include "tensor_file_generated.h"

namespace meshseek {
namespace {

namespace fb = ::meshseek::tensorbin;
using Builder = flatbuffers::FlatBufferBuilder;
using Words = std::vector<std::uint32_t>;

constexpr std::size_t kAlignment = 64;  ///< of the data region and of every distinct shard

flatbuffers::Offset<fb::CoreRangeSet> write_grid(Builder& builder, const CoreRangeSet& grid) {
  std::vector<flatbuffers::Offset<fb::CoreRange>> ranges;
  for (const CoreRange& range : grid) {
    const auto start = fb::CreateCoreCoord(builder, range.start.x, range.start.y);
    const auto end = fb::CreateCoreCoord(builder, range.end.x, range.end.y);
    ranges.push_back(fb::CreateCoreRange(builder, start, end));
  }
  return fb::CreateCoreRangeSet(builder, builder.CreateVector(ranges));
}

flatbuffers::Offset<fb::MemoryConfig> write_memory_config(Builder& builder, const MemoryConfig& config) {
  flatbuffers::Offset<fb::ShardSpec> shard_spec;
  flatbuffers::Offset<fb::NdShardSpec> nd_shard_spec;
  if (config.shard_spec) {
    const ShardSpec& spec = *config.shard_spec;
    if (spec.shape.size() != 2) throw Error("[tensor file] a shard spec needs a shape of two dimensions");
    shard_spec = fb::CreateShardSpec(builder, write_grid(builder, spec.grid), spec.shape[0], spec.shape[1],
                                     static_cast<fb::ShardOrientation>(spec.orientation));
  }
  if (config.nd_shard_spec) {
    const NdShardSpec& spec = *config.nd_shard_spec;
    const auto shape = builder.CreateVector(spec.shard_shape);
    const auto grid = write_grid(builder, spec.grid);
    nd_shard_spec = fb::CreateNdShardSpec(builder, shape, grid, static_cast<fb::ShardOrientation>(spec.orientation),
                                          static_cast<fb::ShardDistributionStrategy>(spec.shard_distribution_strategy));
  }
  return fb::CreateMemoryConfig(builder, static_cast<fb::TensorMemoryLayout>(config.memory_layout),
                                static_cast<fb::BufferType>(config.buffer_type), shard_spec, nd_shard_spec,
                                config.created_with_nd_shard_spec);
}

/// The order of creation is TTNN's: it decides the bytes of the header.
flatbuffers::Offset<fb::TensorSpec> write_spec(Builder& builder, const TensorFileHeader& header) {
  Words dims;
  for (const std::int64_t dim : header.shape) {
    if (dim < 0 || dim > std::numeric_limits<std::uint32_t>::max()) {
      throw ShapeError(fmt::format("[tensor file] {} cannot be stored; expected dimensions of 32 bits", to_string(header.shape)));
    }
    dims.push_back(static_cast<std::uint32_t>(dim));
  }
  const auto shape = builder.CreateVector(dims);
  const auto alignment = builder.CreateVector(header.alignment);
  flatbuffers::Offset<void> page_config;
  if (header.layout == Layout::tile) {
    page_config = fb::CreateTilePageConfig(builder, fb::CreateTile(builder, kTileSize, kTileSize)).Union();
  } else {
    page_config = fb::CreateRowMajorPageConfig(builder).Union();
  }
  const auto memory_config = write_memory_config(builder, header.memory_config);
  const auto kind = header.layout == Layout::tile ? fb::PageConfig_tile : fb::PageConfig_row_major;
  const auto layout = fb::CreateTensorLayout(builder, static_cast<fb::DataType>(header.dtype), kind, page_config, memory_config, alignment);
  return fb::CreateTensorSpec(builder, shape, layout);
}

flatbuffers::Offset<fb::TensorTopology> write_topology(Builder& builder, const TensorFileHeader& header) {
  const auto distribution = fb::CreateMeshShape(builder, builder.CreateVector(header.distribution_shape));
  std::vector<flatbuffers::Offset<fb::MeshMapperPlacement>> placements;
  for (const Placement& placement : header.placements) {
    const auto type = placement.shard_dim ? fb::MeshMapperPlacementType_Shard : fb::MeshMapperPlacementType_Replicate;
    placements.push_back(fb::CreateMeshMapperPlacement(builder, type, placement.shard_dim.value_or(-1)));
  }
  const auto placement_vector = builder.CreateVector(placements);
  std::vector<flatbuffers::Offset<fb::MeshCoordinate>> coordinates;
  for (const Words& coordinate : header.mesh_coords)
    coordinates.push_back(fb::CreateMeshCoordinate(builder, builder.CreateVector(coordinate)));
  const auto coordinate_vector = builder.CreateVector(coordinates);
  return fb::CreateTensorTopology(builder, distribution, placement_vector, coordinate_vector);
}

/// \return the bytes of each buffer
std::size_t check_header(const Path& path, const TensorFileHeader& header, std::size_t num_buffers,
                         std::span<const std::size_t> buffer_of_shard) {
  if (buffer_of_shard.size() != header.shards.size()) {
    throw Error(
        fmt::format("[{}] {} shards but buffers for {}; expected one each", path.string(), header.shards.size(), buffer_of_shard.size()));
  }
  for (const std::size_t buffer_idx : buffer_of_shard) {
    if (buffer_idx >= num_buffers) throw Error(fmt::format("[{}] a shard uses buffer {} of {}", path.string(), buffer_idx, num_buffers));
  }
  const std::int64_t bytes = storage_bytes(header.shape, header.dtype, header.layout);
  if (bytes == 0) throw Error(fmt::format("[{}] an empty tensor cannot be stored", path.string()));
  return static_cast<std::size_t>(bytes);
}

std::size_t pad_to_alignment(std::size_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

std::vector<std::byte> serialise_header(const TensorFileHeader& header) {
  Builder builder;
  const auto spec = write_spec(builder, header);
  std::vector<flatbuffers::Offset<fb::TensorShard>> shards;
  for (const TensorShard& shard : header.shards) {
    const auto coordinate = fb::CreateMeshCoordinate(builder, builder.CreateVector(shard.mesh_coordinate));
    const fb::InlineFileStorage storage(shard.offset, shard.size);
    const auto buffer = builder.CreateStruct(storage);
    shards.push_back(fb::CreateTensorShard(builder, fb::TensorBuffer_InlineFileStorage, buffer.Union(), coordinate));
  }
  const auto shard_vector = builder.CreateVector(shards);
  const auto mesh_shape = fb::CreateMeshShape(builder, builder.CreateVector(header.mesh_shape));
  const auto topology = write_topology(builder, header);
  builder.Finish(fb::CreateTensor(builder, spec, mesh_shape, shard_vector, topology));
  std::vector<std::byte> bytes(pad_to_alignment(sizeof(std::uint64_t) + builder.GetSize()) - sizeof(std::uint64_t));
  std::memcpy(bytes.data(), builder.GetBufferPointer(), builder.GetSize());
  return bytes;
}

TensorFilePlan plan_tensor_file(const Path& path, TensorFileHeader header, std::size_t num_buffers,
                                std::span<const std::size_t> buffer_of_shard) {
  const std::size_t bytes = check_header(path, header, num_buffers, buffer_of_shard);
  const std::size_t stride = pad_to_alignment(bytes);
  for (std::size_t shard_idx = 0; shard_idx < header.shards.size(); ++shard_idx) {
    header.shards[shard_idx].offset = buffer_of_shard[shard_idx] * stride;
    header.shards[shard_idx].size = bytes;
  }
  TensorFilePlan plan = {.buffer_bytes = bytes};
  const std::vector<std::byte> serialised = serialise_header(header);
  const std::uint64_t head_size = serialised.size();
  const auto size_field = std::as_bytes(std::span(&head_size, 1));
  plan.head.assign(size_field.begin(), size_field.end());
  plan.head.insert(plan.head.end(), serialised.begin(), serialised.end());
  for (std::size_t buffer_idx = 0; buffer_idx < num_buffers; ++buffer_idx) plan.offsets.push_back(plan.head.size() + buffer_idx * stride);
  plan.file_bytes = plan.head.size() + (num_buffers == 0 ? 0 : (num_buffers - 1) * stride + bytes);
  return plan;
}

void write_tensor_file(const Path& path, TensorFileHeader header, std::span<const std::span<const std::byte>> buffers,
                       std::span<const std::size_t> buffer_of_shard) {
  for (const auto& buffer : buffers) {
    if (buffer.empty()) throw Error(fmt::format("[{}] an empty tensor cannot be stored", path.string()));
  }
  const TensorFilePlan plan = plan_tensor_file(path, header, buffers.size(), buffer_of_shard);
  const std::vector<std::byte> zeros(kAlignment);
  std::vector<std::span<const std::byte>> pieces = {plan.head};
  std::size_t end = plan.head.size();
  for (std::size_t buffer_idx = 0; buffer_idx < buffers.size(); ++buffer_idx) {
    if (buffers[buffer_idx].size() != plan.buffer_bytes) {
      throw ShapeError(fmt::format("[{}] {} {} needs {} bytes in each shard but was given {}", path.string(), to_string(header.shape),
                                   to_string(header.dtype), plan.buffer_bytes, buffers[buffer_idx].size()));
    }
    pieces.push_back(std::span(zeros).first(plan.offsets[buffer_idx] - end));
    pieces.push_back(buffers[buffer_idx]);
    end = plan.offsets[buffer_idx] + plan.buffer_bytes;
  }
  write_file_atomically(path, pieces);
}

void write_tensor_file(const Path& path, const Shape& shape, DataType dtype, Layout layout, std::span<const std::byte> storage,
                       const MemoryConfig& memory_config) {
  TensorFileHeader header = {.shape = shape, .dtype = dtype, .layout = layout, .memory_config = memory_config};
  header.alignment = layout == Layout::tile ? Words{kTileSize, kTileSize} : Words{1};
  header.mesh_shape = {1, 1};
  header.shards = {{.mesh_coordinate = {0, 0}}};
  header.mesh_coords = {{0, 0}};
  const std::size_t first = 0;
  write_tensor_file(path, std::move(header), std::span(&storage, 1), std::span(&first, 1));
}

}  // namespace meshseek

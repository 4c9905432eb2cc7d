#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"
#include "tensor_file_generated.h"

namespace meshseek {
namespace {

namespace fb = ::meshseek::tensorbin;

constexpr std::size_t kSizeBytes = sizeof(std::uint64_t);
constexpr std::size_t kMaxRank = Shape::kMaxRank;

[[noreturn]] void fail(const Path& path, const std::string& what) {
  throw Error(fmt::format("[{}] {}; convert the store again", path.string(), what));
}

/// Dimensions and coordinates are short. A limit matters: many tables of a hostile header can share one long vector.
template <class Vector>
std::vector<std::uint32_t> copy_words(const Vector* words, const Path& path) {
  if (words == nullptr) return {};
  if (words->size() > kMaxRank)
    fail(path, fmt::format("the header has a list of {} dimensions; at most {} are expected", words->size(), kMaxRank));
  return {words->begin(), words->end()};
}

/// The enum value that the header stores as a number. \throws Error when it is above `last`.
template <class Enum, class Stored>
Enum checked_enum(Stored stored, Enum last, std::string_view what, const Path& path) {
  if (static_cast<unsigned>(stored) > static_cast<unsigned>(last)) {
    fail(path, fmt::format("the header has {} {}; at most {} is known", what, static_cast<unsigned>(stored), static_cast<unsigned>(last)));
  }
  return static_cast<Enum>(stored);
}

CoreRangeSet read_grid(const fb::CoreRangeSet* grid) {
  CoreRangeSet result;
  if (grid == nullptr || grid->ranges() == nullptr) return result;
  const auto coordinate = [](const fb::CoreCoord* coord) { return coord == nullptr ? CoreCoord{} : CoreCoord{coord->x(), coord->y()}; };
  for (const fb::CoreRange* range : *grid->ranges()) result.push_back({coordinate(range->start()), coordinate(range->end())});
  return result;
}

MemoryConfig read_memory_config(const fb::MemoryConfig* config, const Path& path) {
  MemoryConfig result;
  if (config == nullptr) return result;
  result.memory_layout = checked_enum(config->memory_layout(), TensorMemoryLayout::ND_SHARDED, "memory layout", path);
  if (static_cast<unsigned>(result.memory_layout) == 1)
    fail(path, "the header has memory layout 1, which TTNN gave up; expected 0 or 2 to 5");
  result.buffer_type = checked_enum(config->buffer_type(), BufferType::TRACE, "buffer type", path);
  result.created_with_nd_shard_spec = config->created_with_nd_shard_spec();
  if (const fb::ShardSpec* spec = config->shard_spec()) {
    result.shard_spec = ShardSpec{read_grid(spec->grid()),
                                  {spec->shape_h(), spec->shape_w()},
                                  checked_enum(spec->orientation(), ShardOrientation::COL_MAJOR, "shard orientation", path)};
  }
  if (const fb::NdShardSpec* spec = config->nd_shard_spec()) {
    const auto orientation = checked_enum(spec->orientation(), ShardOrientation::COL_MAJOR, "shard orientation", path);
    const auto strategy =
        checked_enum(spec->shard_distribution_strategy(), ShardDistributionStrategy::CONTIGUOUS_1D, "shard distribution", path);
    result.nd_shard_spec = NdShardSpec{copy_words(spec->shard_shape(), path), read_grid(spec->grid()), orientation, strategy};
  }
  return result;
}

void read_spec(const fb::TensorSpec* spec, const Path& path, TensorFileHeader& header) {
  if (spec == nullptr || spec->shape() == nullptr || spec->tensor_layout() == nullptr)
    fail(path, "the header has no tensor spec; expected shape and layout");
  if (spec->shape()->size() > kMaxRank)
    fail(path, fmt::format("the header has rank {}; at most {} is expected", spec->shape()->size(), kMaxRank));
  header.shape = Shape(spec->shape()->begin(), spec->shape()->end());
  const fb::TensorLayout& layout = *spec->tensor_layout();
  if (layout.data_type() > fb::DataType_Int32)
    fail(path, fmt::format("element type {} is not supported; at most {} is known", static_cast<int>(layout.data_type()),
                           static_cast<int>(fb::DataType_Int32)));
  header.dtype = static_cast<DataType>(layout.data_type());
  if (layout.page_config_type() == fb::PageConfig_tile) {
    const fb::TilePageConfig* page = layout.page_config_as_tile();
    const fb::Tile* tile = page == nullptr ? nullptr : page->tile();
    if (tile == nullptr || tile->tile_shape_h() != kTileSize || tile->tile_shape_w() != kTileSize || tile->transpose_tile()) {
      fail(path, "the header has other tiles; expected 32x32");
    }
    header.layout = Layout::tile;
  } else if (layout.page_config_type() == fb::PageConfig_row_major) {
    header.layout = Layout::row_major;
  } else {
    fail(path, "the header has no page config; expected tiles or rows");
  }
  header.memory_config = read_memory_config(layout.memory_config(), path);
  header.alignment = copy_words(layout.alignment(), path);
}

void check_coordinate(const std::vector<std::uint32_t>& coordinate, const std::vector<std::uint32_t>& mesh_shape, const Path& path) {
  const auto inside = [](std::uint32_t position, std::uint32_t size) { return position < size; };
  if (!std::equal(coordinate.begin(), coordinate.end(), mesh_shape.begin(), mesh_shape.end(), inside)) {
    fail(path, fmt::format("a shard lies at [{}], outside of the mesh; expected a place in [{}]", fmt::join(coordinate, ", "),
                           fmt::join(mesh_shape, ", ")));
  }
}

void read_shards(const fb::Tensor& tensor, const Path& path, TensorFileHeader& header) {
  if (tensor.mesh_shape() == nullptr || tensor.mesh_shape()->dimensions() == nullptr)
    fail(path, "the header has no mesh shape; expected its dimensions");
  header.mesh_shape = copy_words(tensor.mesh_shape()->dimensions(), path);
  if (tensor.shards() == nullptr || tensor.shards()->size() == 0) fail(path, "the header has no shards; expected one or more");
  for (const fb::TensorShard* shard : *tensor.shards()) {
    const fb::InlineFileStorage* storage = shard->buffer_as_InlineFileStorage();
    if (storage == nullptr || shard->mesh_coordinate() == nullptr)
      fail(path, "a shard has no storage or no mesh coordinate; expected both");
    header.shards.push_back({copy_words(shard->mesh_coordinate()->values(), path), storage->offset(), storage->size()});
    check_coordinate(header.shards.back().mesh_coordinate, header.mesh_shape, path);
  }
}

/// Files from before the topology existed are replicated over their mesh.
void read_topology(const fb::TensorTopology* topology, const Path& path, TensorFileHeader& header) {
  if (topology == nullptr) return;
  if (topology->distribution_shape() != nullptr) header.distribution_shape = copy_words(topology->distribution_shape()->dimensions(), path);
  header.placements.clear();
  if (topology->placements() != nullptr) {
    for (const fb::MeshMapperPlacement* placement : *topology->placements()) {
      Placement entry;
      const auto type = checked_enum(placement->type(), fb::MeshMapperPlacementType_Shard, "placement", path);
      if (type == fb::MeshMapperPlacementType_Shard) entry.shard_dim = placement->tensor_dim();
      header.placements.push_back(entry);
    }
  }
  if (topology->mesh_coords() == nullptr) return;
  for (const fb::MeshCoordinate* coordinate : *topology->mesh_coords())
    header.mesh_coords.push_back(copy_words(coordinate->values(), path));
}

std::uint64_t expected_shard_bytes(const TensorFileHeader& header, const Path& path) {
  try {
    return static_cast<std::uint64_t>(storage_bytes(header.shape, header.dtype, header.layout));
  } catch (const Error& error) {
    fail(path, fmt::format("the header does not describe a tensor: {}; expected a shape that fits its layout", error.what()));
  }
}

void check_shards(const TensorFileHeader& header, std::uint64_t data_bytes, const Path& path) {
  const std::uint64_t expected = expected_shard_bytes(header, path);
  for (const TensorShard& shard : header.shards) {
    if (shard.size != expected) {
      fail(path, fmt::format("a shard of {} {} {} has {} bytes; expected {}", to_string(header.shape), to_string(header.dtype),
                             to_string(header.layout), shard.size, expected));
    }
    if (shard.offset % 8 != 0) fail(path, fmt::format("a shard starts at offset {}; expected a multiple of 8", shard.offset));
    if (shard.offset > data_bytes || shard.size > data_bytes - shard.offset) {
      fail(path, fmt::format("the file is cut off: a shard has {} bytes from offset {}; the data region has {}", shard.size, shard.offset,
                             data_bytes));
    }
  }
}

}  // namespace

TensorFile::TensorFile(const Path& path) : TensorFile(std::make_shared<const MappedFile>(path)) {}

TensorFile::TensorFile(const std::shared_ptr<const MappedFile>& file) : TensorFile(file->path(), file->bytes(), file) {}

TensorFile::TensorFile(const Path& path, std::span<const std::byte> bytes, std::shared_ptr<const void> keep_alive)
    : path_(path), bytes_(bytes), owner_(std::move(keep_alive)) {
  if (bytes.size() < kSizeBytes) fail(path, fmt::format("the file has {} bytes; expected at least 8", bytes.size()));
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), kSizeBytes);
  if (header_size > bytes.size() - kSizeBytes || header_size > std::numeric_limits<std::int32_t>::max()) {
    fail(path, fmt::format("the header would have {} bytes; the file has {}", header_size, bytes.size()));
  }
  data_begin_ = kSizeBytes + header_size;
  if (header_size == 0) fail(path, "the header is empty; expected the FlatBuffer of a tensor");
  if (data_begin_ % 8 != 0) fail(path, fmt::format("the data begins at byte {}; expected a multiple of 8", data_begin_));
  // A copy in aligned memory: FlatBuffers reads its integers in place.
  const std::vector<std::byte> head(bytes.begin() + kSizeBytes, bytes.begin() + static_cast<std::ptrdiff_t>(data_begin_));
  const auto* data = reinterpret_cast<const std::uint8_t*>(head.data());
  flatbuffers::Verifier verifier(data, head.size());
  if (!verifier.VerifyBuffer<fb::Tensor>(nullptr)) fail(path, "the header is damaged; expected a FlatBuffer whose offsets lie inside");
  const fb::Tensor& tensor = *fb::GetTensor(data);
  if (tensor.schema_version() > 1) fail(path, fmt::format("schema version {} is not known; expected 0 or 1", tensor.schema_version()));
  read_spec(tensor.tensor_spec(), path, header_);
  read_shards(tensor, path, header_);
  read_topology(tensor.tensor_topology(), path, header_);
  check_shards(header_, bytes.size() - data_begin_, path);
}

Tensor TensorFile::shard(std::size_t shard_idx) const {
  if (shard_idx >= header_.shards.size()) {
    throw Error(fmt::format("[{}] shard {} was asked for; the file has {}", path().string(), shard_idx, header_.shards.size()));
  }
  const TensorShard& shard = header_.shards[shard_idx];
  return {header_.shape, header_.dtype, header_.layout, bytes_.subspan(data_begin_ + shard.offset, shard.size), owner_};
}

}  // namespace meshseek

// Malformed tensor files, class by class.
#include <algorithm>
#include <cstring>
#include <limits>

#include "tensor/tensor_file.hpp"
#include "tests/support/malformed.hpp"

namespace meshseek {
namespace {

using testing::MalformedFile;

constexpr std::size_t kDataBytes = 64;

/// A [4, 4] float32 tensor in rows.
TensorFileHeader rows() {
  return {.shape = {4, 4},
          .dtype = DataType::float32,
          .layout = Layout::row_major,
          .alignment = {1},
          .mesh_shape = {1, 1},
          .shards = {{.mesh_coordinate = {0, 0}, .offset = 0, .size = kDataBytes}},
          .mesh_coords = {{0, 0}}};
}

std::string file_of(const TensorFileHeader& header) {
  const std::vector<std::byte> head = serialise_header(header);
  const std::uint64_t size = head.size();
  std::string file(sizeof(size) + size + kDataBytes, '\0');
  std::memcpy(file.data(), &size, sizeof(size));
  std::memcpy(file.data() + sizeof(size), head.data(), size);
  return file;
}

/// The good file's header, changed in one place.
template <class Change>
std::string changed(Change&& change) {
  TensorFileHeader header = rows();
  change(header);
  return file_of(header);
}

std::string with_header_size(std::uint64_t size) {
  std::string file = file_of(rows());
  std::memcpy(file.data(), &size, sizeof(size));
  return file;
}

/// Finds its way through the FlatBuffer of a file, which serialise_header() writes only well-formed.
class Flat {
 public:
  explicit Flat(std::string file) : file_(std::move(file)), table_(follow(sizeof(std::uint64_t))) {}

  /// Goes to the table that field `id` of this table refers to.
  Flat& down(std::size_t id) {
    table_ = follow(position(id));
    return *this;
  }
  /// Goes from a table to its first element when field `id` is a vector of tables.
  Flat& first_of(std::size_t id) {
    table_ = follow(follow(position(id)) + sizeof(std::uint32_t));
    return *this;
  }
  std::string without(std::size_t id) {
    const std::uint16_t absent = 0;
    std::memcpy(file_.data() + slot(id), &absent, sizeof(absent));
    return file_;
  }
  template <class T>
  std::string with(std::size_t id, T value) {
    std::memcpy(file_.data() + position(id), &value, sizeof(value));
    return file_;
  }
  /// Gives the vector of field `id` another length.
  std::string with_length(std::size_t id, std::uint32_t length) {
    std::memcpy(file_.data() + follow(position(id)), &length, sizeof(length));
    return file_;
  }

 private:
  template <class T>
  T load(std::size_t at) const {
    T value = {};
    EXPECT_LE(at + sizeof(value), file_.size());
    std::memcpy(&value, file_.data() + at, sizeof(value));
    return value;
  }
  std::size_t follow(std::size_t at) const { return at + load<std::uint32_t>(at); }
  /// Where the vtable says where the field lies.
  std::size_t slot(std::size_t id) const {
    const auto back = load<std::int32_t>(table_);
    return static_cast<std::size_t>(static_cast<std::int64_t>(table_) - back) + 4 + 2 * id;
  }
  std::size_t position(std::size_t id) const {
    const auto offset = load<std::uint16_t>(slot(id));
    EXPECT_NE(offset, 0) << "the field was there before";
    return table_ + offset;
  }

  std::string file_;
  std::size_t table_ = 0;
};

std::string tiles() {
  return changed([](TensorFileHeader& h) {
    h.dtype = DataType::bfloat8_b;
    h.layout = Layout::tile;
  });
}

std::vector<MalformedFile> malformed_frames() {
  std::string garbage = file_of(rows());
  std::fill_n(garbage.begin() + 8, 32, '\xFF');
  return {{"empty", "", "the file has 0 bytes; expected at least 8"},
          {"no-header-size", "12345", "the file has 5 bytes; expected at least 8"},
          {"header-empty", with_header_size(0), "the header is empty"},
          {"header-beyond-file", with_header_size(std::uint64_t{1} << 62), "would have 4611686018427387904 bytes"},
          {"header-of-all-ones", with_header_size(~std::uint64_t{0}), "would have 18446744073709551615 bytes"},
          {"header-misaligned", with_header_size(251), "the data begins at byte 259; expected a multiple of 8"},
          {"header-garbage", garbage, "the header is damaged"},
          {"no-spec", Flat(file_of(rows())).without(0), "no tensor spec"},
          {"no-mesh-shape", Flat(file_of(rows())).without(1), "no mesh shape"},
          {"no-shards", changed([](auto& h) { h.shards.clear(); }), "no shards"},
          {"no-page-config", Flat(file_of(rows())).down(0).down(1).with(1, std::uint8_t{0}), "no page config"},
          {"no-coordinate", Flat(file_of(rows())).first_of(2).without(2), "no storage or no mesh coordinate"}};
}

std::vector<MalformedFile> malformed_specs() {
  const std::int64_t large = std::numeric_limits<std::uint32_t>::max();
  return {
      {"rank", Flat(changed([](auto& h) { h.shape = {1, 1, 1, 1, 1, 1, 1, 16}; })).down(0).with_length(0, 9), "rank 9; at most 8"},
      {"element-type", changed([](auto& h) { h.dtype = static_cast<DataType>(8); }), "element type 8 is not supported; at most 7"},
      {"tile-height", Flat(tiles()).down(0).down(1).down(2).down(0).with(0, std::uint32_t{16}), "other tiles; expected 32x32"},
      {"volume-overflows", changed([=](auto& h) { h.shape = {large, large, large}; }), "[4294967295, 4294967295, 4294967295] is too large"},
      {"bytes-overflow", changed([=](auto& h) { h.shape = {large / 2, large}; }), "[2147483647, 4294967295] is too large"},
      {"block-float-rows", changed([](auto& h) { h.dtype = DataType::bfloat8_b; }), "bfloat8_b cannot be ROW_MAJOR"},
      {"layout-of-the-past", changed([](auto& h) { h.memory_config.memory_layout = static_cast<TensorMemoryLayout>(1); }),
       "memory layout 1, which TTNN gave up"},
      {"layout-unknown", changed([](auto& h) { h.memory_config.memory_layout = static_cast<TensorMemoryLayout>(6); }),
       "memory layout 6; at most 5"},
      {"buffer-unknown", changed([](auto& h) { h.memory_config.buffer_type = static_cast<BufferType>(5); }), "buffer type 5; at most 4"},
      {"orientation-unknown",
       changed([](auto& h) { h.memory_config.shard_spec = ShardSpec{{}, {32, 32}, static_cast<ShardOrientation>(2)}; }),
       "shard orientation 2; at most 1"},
      {"distribution-unknown",
       changed([](auto& h) { h.memory_config.nd_shard_spec = NdShardSpec{{32}, {}, {}, static_cast<ShardDistributionStrategy>(3)}; }),
       "shard distribution 3; at most 2"},
      {"placement-unknown", Flat(changed([](auto& h) { h.placements = {Placement{1}}; })).down(3).first_of(1).with(0, std::uint8_t{2}),
       "placement 2; at most 1"}};
}

std::vector<MalformedFile> malformed_shards() {
  return {{"outside-of-the-mesh", changed([](auto& h) { h.shards[0].mesh_coordinate = {0, 1}; }), "lies at [0, 1], outside of the mesh"},
          {"other-rank-than-the-mesh", changed([](auto& h) { h.shards[0].mesh_coordinate = {0}; }), "lies at [0], outside of the mesh"},
          {"long-list", changed([](auto& h) { h.mesh_coords = {std::vector<std::uint32_t>(9)}; }), "a list of 9 dimensions; at most 8"},
          {"size-wrong", changed([](auto& h) { h.shards[0].size = 60; }), "has 60 bytes; expected 64"},
          {"size-wrong-of-none", changed([](auto& h) { h.shape = {0, 7}; }), "[0, 7] float32 ROW_MAJOR has 64 bytes; expected 0"},
          {"offset-misaligned", changed([](auto& h) { h.shards[0].offset = 4; }), "starts at offset 4; expected a multiple of 8"},
          {"offset-beyond-file", changed([](auto& h) { h.shards[0].offset = 8; }), "64 bytes from offset 8; the data region has 64"},
          {"offset-overflows", changed([](auto& h) { h.shards[0].offset = ~std::uint64_t{7}; }), "from offset 18446744073709551608"},
          {"cut-off", file_of(rows()).substr(0, file_of(rows()).size() - 1), "from offset 0; the data region has 63"}};
}

TEST(MalformedTensorFiles, EachClassHasItsOwnMessage) {
  std::vector<MalformedFile> files = malformed_frames();
  for (const auto& more : {malformed_specs(), malformed_shards()}) files.insert(files.end(), more.begin(), more.end());
  testing::expect_own_messages(files, [](const std::string& content) {
    const auto bytes = std::as_bytes(std::span(content));
    const auto kept = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
    TensorFile("file", *kept, kept);
  });
}

}  // namespace
}  // namespace meshseek

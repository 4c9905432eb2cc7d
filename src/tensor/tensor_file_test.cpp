// Tensor files that are damaged in any byte, and files of other TTNN versions that must load. Classes of malformed files: tensor_file_malformed_test.cpp.
#include "tensor/tensor_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "base/file.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

class TensorFiles : public ::testing::Test {
 protected:
  Path path() const { return folder_.path() / "w.tensorbin"; }

  /// A good file of a [40, 70] bfloat8_b tensor.
  std::vector<std::byte> good() const {
    const std::vector<float> values(40 * 70, 1.5F);
    write_tensor_file(path(), {40, 70}, DataType::bfloat8_b, Layout::tile, encode(values, {40, 70}, DataType::bfloat8_b, Layout::tile));
    const std::string text = read_text_file(path());
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
  }

  /// Not durable, and a new file each time: some tests write thousands, and file systems flush a file that was cut to nothing.
  void write(std::span<const std::byte> bytes) const {
    std::filesystem::remove(path());
    std::ofstream file(path(), std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }

  /// A file with this header and `data_bytes` of data.
  void write_header(const TensorFileHeader& header, std::size_t data_bytes) const {
    const std::vector<std::byte> head = serialise_header(header);
    const std::uint64_t size = head.size();
    std::vector<std::byte> bytes(8 + head.size() + data_bytes);
    std::memcpy(bytes.data(), &size, 8);
    std::memcpy(bytes.data() + 8, head.data(), head.size());
    write(bytes);
  }

  static TensorFileHeader header(const Shape& shape, std::uint64_t offset, std::uint64_t size) {
    return {.shape = shape,
            .dtype = DataType::float32,
            .layout = Layout::row_major,
            .alignment = {1},
            .mesh_shape = {1, 1},
            .shards = {{.mesh_coordinate = {0, 0}, .offset = offset, .size = size}},
            .mesh_coords = {{0, 0}}};
  }

  void expect_error(const std::string& words) const {
    EXPECT_THAT([&] { TensorFile file(path()); }, ThrowsMessage<Error>(AllOf(HasSubstr(path().string()), HasSubstr(words)))) << words;
  }

  TemporaryFolder folder_;
};

TEST_F(TensorFiles, AWrittenTensorIsReadBackWithItsShapeAndValues) {
  good();
  const TensorFile file(path());
  EXPECT_EQ(file.header().shape, (Shape{40, 70}));
  EXPECT_EQ(file.shard().dtype(), DataType::bfloat8_b);
  EXPECT_EQ(to_float_vector(file.shard()), std::vector<float>(40 * 70, 1.5F));
}

/// Whether the file opens; then every value of every shard is read. Anything but Error and success fails the test.
bool opens(const Path& path) {
  try {
    const TensorFile file(path);
    for (std::size_t shard_idx = 0; shard_idx < file.header().shards.size(); ++shard_idx) {
      const Tensor shard = file.shard(shard_idx);
      EXPECT_EQ(to_float_vector(shard).size(), static_cast<std::size_t>(shard.volume()));
    }
    return true;
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), Not(HasSubstr("\n"))));
    return false;
  }
}

TEST_F(TensorFiles, EveryFlippedHeaderByteIsRefusedOrHarmless) {
  const std::vector<std::byte> bytes = good();
  std::size_t refused = 0;
  for (std::size_t position = 0; position < 384; ++position) {
    for (const unsigned char flip : {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF}) {
      std::vector<std::byte> damaged = bytes;
      damaged[position] ^= std::byte{flip};
      write(damaged);
      if (!opens(path())) ++refused;
    }
  }
  EXPECT_GT(refused, 800U);
  EXPECT_LT(refused, 384U * 9U);  // padding may be anything
}

TEST_F(TensorFiles, EveryEmptiedHeaderFieldIsRefusedOrHarmless) {
  const std::vector<std::byte> bytes = good();
  std::size_t refused = 0;
  for (std::size_t position = 8; position < 384; position += 2) {
    std::vector<std::byte> damaged = bytes;
    damaged[position] = damaged[position + 1] = std::byte{0};  // an entry of a vtable: the field is absent
    write(damaged);
    if (!opens(path())) ++refused;
  }
  EXPECT_GT(refused, 10U);
}

TEST_F(TensorFiles, EveryCutFileIsRefused) {
  const std::vector<std::byte> bytes = good();
  for (std::size_t size = 0; size < bytes.size(); size += size < 400 ? 1 : 97) {
    write(std::span(bytes).first(size));
    EXPECT_FALSE(opens(path())) << size;
  }
}

TEST_F(TensorFiles, AShapeWhoseBytesWrapAroundIsRefused) {
  // Volumes that fit in 63 bits: elements of 4 bytes, and padding to tiles, push them over.
  const std::int64_t large = std::int64_t{1} << 31;
  write_header(header({large, large}, 0, 0), 64);
  expect_error("[2147483648, 2147483648] is too large");
  TensorFileHeader tiled = header({large, large / 2, 1, 1}, 0, 0);
  tiled.layout = Layout::tile;
  write_header(tiled, 64);
  expect_error("is too large");
  write_header(header({0, 0xFFFFFFFF, 0xFFFFFFFF}, 0, 4), 64);
  expect_error("has 4 bytes; expected 0");
}

/// Where the vtable of the root table lies in the file; field n is the 16-bit word at 4 + 2 n.
std::size_t root_vtable(std::span<const std::byte> bytes) {
  std::uint32_t root = 0;
  std::int32_t back = 0;
  std::memcpy(&root, bytes.data() + 8, sizeof(root));
  std::memcpy(&back, bytes.data() + 8 + root, sizeof(back));
  return 8 + static_cast<std::size_t>(static_cast<std::int64_t>(root) - back);
}

std::vector<std::byte> without_root_field(std::vector<std::byte> bytes, std::size_t field) {
  const std::size_t slot = root_vtable(bytes) + 4 + 2 * field;
  EXPECT_NE(bytes.at(slot), std::byte{0}) << "the field was there before";
  bytes.at(slot) = bytes.at(slot + 1) = std::byte{0};
  return bytes;
}

TEST_F(TensorFiles, AHeaderWithoutATopologyIsReplicated) {
  write(without_root_field(good(), 3));
  const TensorFile file(path());
  EXPECT_EQ(to_float_vector(file.shard()).front(), 1.5F);
  EXPECT_THAT(file.header().placements, ::testing::ElementsAre(Placement{}));
  EXPECT_THAT(file.header().distribution_shape, ::testing::ElementsAre(1U));
}

TEST_F(TensorFiles, TheIdentifierOfLaterVersionsIsAccepted) {
  std::vector<std::byte> bytes = good();
  // The identifier follows the root offset; all other offsets are relative and move along.
  const std::array<std::byte, 8> identifier = {std::byte{'T'}, std::byte{'T'}, std::byte{'N'}, std::byte{'B'}};
  bytes.insert(bytes.begin() + 12, identifier.begin(), identifier.end());
  std::uint64_t size = 0;
  std::uint32_t root = 0;
  std::memcpy(&size, bytes.data(), sizeof(size));
  std::memcpy(&root, bytes.data() + 8, sizeof(root));
  size += identifier.size();
  root += identifier.size();
  std::memcpy(bytes.data(), &size, sizeof(size));
  std::memcpy(bytes.data() + 8, &root, sizeof(root));
  write(bytes);
  EXPECT_EQ(to_float_vector(TensorFile(path()).shard()), std::vector<float>(40 * 70, 1.5F));
}

TEST_F(TensorFiles, BytesInMemoryAreReadInPlace) {
  const auto bytes = std::make_shared<const std::vector<std::byte>>(good());
  const TensorFile file("memory", *bytes, bytes);
  EXPECT_EQ(file.file_bytes(), bytes->size());
  EXPECT_EQ(file.shard().bytes().data(), bytes->data() + bytes->size() - file.shard().bytes().size());
  EXPECT_EQ(to_float_vector(file.shard()).front(), 1.5F);
}

TEST_F(TensorFiles, AShardThatDoesNotExistIsRefused) {
  good();
  const TensorFile file(path());
  EXPECT_THAT([&] { static_cast<void>(file.shard(1)); }, ThrowsMessage<Error>(HasSubstr("shard 1 was asked for; the file has 1")));
}

TEST_F(TensorFiles, TrailingBytesAreAccepted) {
  std::vector<std::byte> bytes = good();
  bytes.resize(bytes.size() + 24);
  write(bytes);
  EXPECT_EQ(TensorFile(path()).header().shape, (Shape{40, 70}));
}

TEST_F(TensorFiles, AHeaderAlignedToEightOnlyIsAccepted) {
  const std::vector<std::byte> bytes = good();
  std::uint64_t size = 0;
  std::memcpy(&size, bytes.data(), 8);
  std::vector<std::byte> shifted(bytes.begin(), bytes.begin() + 8 + static_cast<std::ptrdiff_t>(size));
  size += 8;
  std::memcpy(shifted.data(), &size, 8);
  shifted.resize(shifted.size() + 8);
  shifted.insert(shifted.end(), bytes.begin() + static_cast<std::ptrdiff_t>(size), bytes.end());
  write(shifted);
  EXPECT_EQ(to_float_vector(TensorFile(path()).shard()).front(), 1.5F);
}

TEST_F(TensorFiles, AMissingFileNamesItsPath) { expect_error("cannot open"); }

TEST_F(TensorFiles, BuffersThatDoNotFitTheHeaderAreNotWritten) {
  const std::vector<std::byte> good_bytes(64);
  const std::vector<std::byte> short_bytes(60);
  const auto written = [&](const std::vector<std::byte>& bytes, std::vector<std::size_t> buffer_of_shard, const Shape& shape) {
    const std::span<const std::byte> buffer(bytes);
    write_tensor_file(path(), header(shape, 0, 0), std::span(&buffer, 1), buffer_of_shard);
  };
  EXPECT_THAT([&] { written(short_bytes, {0}, {4, 4}); },
              ThrowsMessage<ShapeError>(HasSubstr("needs 64 bytes in each shard but was given 60")));
  EXPECT_THAT([&] { written(good_bytes, {1}, {4, 4}); }, ThrowsMessage<Error>(HasSubstr("a shard uses buffer 1 of 1")));
  EXPECT_THAT([&] { written(good_bytes, {0, 0}, {4, 4}); }, ThrowsMessage<Error>(HasSubstr("1 shards but buffers for 2")));
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(TensorFiles, ADimensionBeyondThirtyTwoBitsIsNotWritten) {
  EXPECT_THAT([] { serialise_header(header({(std::int64_t{1} << 32) + 4}, 0, 4)); },
              ThrowsMessage<ShapeError>(HasSubstr("dimensions of 32 bits")));
}

TEST_F(TensorFiles, AnEmptyTensorIsNotWritten) {
  EXPECT_THAT([&] { write_tensor_file(path(), {0, 4}, DataType::float32, Layout::row_major, {}); },
              ThrowsMessage<Error>(HasSubstr("empty tensor")));
}

}  // namespace
}  // namespace meshseek

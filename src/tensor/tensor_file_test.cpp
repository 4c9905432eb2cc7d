// Tensor files that are damaged or hostile, each class with its own words; and files of other TTNN versions that must load.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.hpp"
#include "base/file.hpp"
#include "tensor/tensor_file.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
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

  void write(std::span<const std::byte> bytes) const { write_file_atomically(path(), bytes); }

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

TEST_F(TensorFiles, AFileOfLessThanEightBytesIsRefused) {
  write(std::vector<std::byte>(5));
  expect_error("has 5 bytes");
}

TEST_F(TensorFiles, AHeaderLongerThanTheFileIsRefused) {
  std::vector<std::byte> bytes = good();
  const std::uint64_t size = std::uint64_t{1} << 62;
  std::memcpy(bytes.data(), &size, 8);
  write(bytes);
  expect_error("the header would have 4611686018427387904 bytes");
}

TEST_F(TensorFiles, AMisalignedHeaderIsRefused) {
  std::vector<std::byte> bytes = good();
  const std::uint64_t size = 371;
  std::memcpy(bytes.data(), &size, 8);
  write(bytes);
  expect_error("no multiple of 8");
}

TEST_F(TensorFiles, ACorruptedHeaderIsRefused) {
  std::vector<std::byte> bytes = good();
  std::fill(bytes.begin() + 8, bytes.begin() + 40, std::byte{0xFF});
  write(bytes);
  expect_error("the header is damaged");
}

TEST_F(TensorFiles, EveryFlippedHeaderByteIsRefusedOrHarmless) {
  const std::vector<std::byte> bytes = good();
  for (std::size_t position = 0; position < 384; ++position) {
    for (const unsigned char flip : {0x01, 0x80, 0xFF}) {
      std::vector<std::byte> damaged = bytes;
      damaged[position] ^= std::byte{flip};
      write(damaged);
      try {
        const TensorFile file(path());
        for (std::size_t shard_idx = 0; shard_idx < file.header().shards.size(); ++shard_idx) to_float_vector(file.shard(shard_idx));
      } catch (const Error&) {
      }
    }
    if (position > 16) position += 6;  // every byte of the first ones, then a sample: the loop writes a file each time
  }
}

TEST_F(TensorFiles, ACutOffFileIsRefused) {
  const std::vector<std::byte> bytes = good();
  write(std::span(bytes).first(bytes.size() - 1));
  expect_error("cut off");
}

TEST_F(TensorFiles, ASizeThatDoesNotFitTheShapeIsRefused) {
  write_header(header({4, 4}, 0, 60), 64);
  expect_error("has 60 bytes; expected 64");
}

TEST_F(TensorFiles, AnOffsetThatOverflowsIsRefused) {
  write_header(header({4, 4}, std::uint64_t{0xFFFFFFFFFFFFFFF8}, 64), 64);
  expect_error("cut off");
}

TEST_F(TensorFiles, AnUnalignedShardIsRefused) {
  write_header(header({4, 4}, 4, 64), 128);
  expect_error("no multiple of 8");
}

TEST_F(TensorFiles, AShapeTooLargeForAnyMemoryIsRefused) {
  write_header(header({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, 0, 64), 64);
  expect_error("does not describe a tensor");
}

TEST_F(TensorFiles, MoreThanEightDimensionsAreRefused) {
  write_header(header({1, 1, 1, 1, 1, 1, 1, 1, 16}, 0, 64), 64);
  expect_error("rank 9");
}

TEST_F(TensorFiles, BlockFloatInRowMajorIsRefused) {
  TensorFileHeader bad = header({4, 4}, 0, 64);
  bad.dtype = DataType::bfloat8_b;
  write_header(bad, 64);
  expect_error("cannot be ROW_MAJOR");
}

TEST_F(TensorFiles, AHeaderWithoutShardsIsRefused) {
  TensorFileHeader bad = header({4, 4}, 0, 64);
  bad.shards.clear();
  write_header(bad, 64);
  expect_error("no shards");
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

TEST_F(TensorFiles, AnEmptyTensorIsNotWritten) {
  EXPECT_THAT([&] { write_tensor_file(path(), {0, 4}, DataType::float32, Layout::row_major, {}); }, ThrowsMessage<Error>(HasSubstr("empty tensor")));
}

}  // namespace
}  // namespace meshseek

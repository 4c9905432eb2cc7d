#include "stage1_convert/verify.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "base/file.hpp"
#include "stage1_convert/convert.hpp"
#include "stage1_convert/manifest.hpp"
#include "tensor/tensor_file.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

class Verify : public ::testing::Test {
 protected:
  void SetUp() override { convert_checkpoint(testing::data_folder() / "checkpoints/v3-tiny", store(), {.mesh = mesh_}); }
  Path store() const { return folder_.path() / "store"; }
  VerifyReport verify() {
    ThreadTeam team(2);
    return verify_store(store(), team);
  }
  void flip(const std::string& file, std::uint64_t offset, unsigned char bits = 0x10) const {
    std::fstream stream(store() / file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(offset));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(static_cast<char>(byte ^ bits));
  }
  static auto problem(const std::string& path, const std::string& what) {
    return ::testing::AllOf(Field(&StoreProblem::path, path), Field(&StoreProblem::what, HasSubstr(what)));
  }

  MeshShape mesh_ = {};
  TemporaryFolder folder_;
};

class VerifyMesh : public Verify {
 protected:
  VerifyMesh() { mesh_ = {1, 2}; }
};

constexpr const char* kW1 = "layers/0/mlp/w1.input_tensor_b.tensorbin";  // [224, 144] bfloat8_b: 7 x 5 tiles
constexpr const char* kNorm = "norm.weight.tensorbin";

TEST_F(Verify, AStoreAsItWasWrittenHasNoProblem) {
  const VerifyReport report = verify();
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_GT(report.num_files, 20);
  EXPECT_EQ(report.num_files, static_cast<std::int64_t>(read_manifest(store())->files.size()));
  EXPECT_GT(report.bytes, 100'000);
}

TEST_F(Verify, AFlippedByteIsLocatedToItsTile) {
  const std::uint64_t data = TensorFile(store() / kW1).data_offset();
  flip(kW1, data + 1088 * 7 + 500);  // tile 7 = row of tiles 1, column 2
  EXPECT_THAT(verify().problems, ElementsAre(problem(kW1, "tile 7 (rows 32 to 63, columns 64 to 95 of the padded matrix)")));
}

TEST_F(VerifyMesh, AFlippedByteIsLocatedToItsShard) {
  const TensorFile file(store() / kW1);
  flip(kW1, file.data_offset() + file.header().shards[1].offset);
  EXPECT_THAT(verify().problems, ElementsAre(problem(kW1, "shard 1, tile 0 (rows 0 to 31")));
}

TEST_F(Verify, AFlippedByteOfARowMajorTensorIsLocatedToItsElement) {
  const std::uint64_t data = TensorFile(store() / kNorm).data_offset();
  flip(kNorm, data + 2 * 17 + 1);
  EXPECT_THAT(verify().problems, ElementsAre(problem(kNorm, "row 0, column 17")));
}

TEST_F(Verify, AByteOfTheHeaderOrOfACopiedFileIsLocatedToo) {
  flip(kNorm, 40);
  flip("config.json", 3);
  EXPECT_THAT(verify().problems, ElementsAre(problem("config.json", "byte 3"), problem(kNorm, "byte 40")));
}

TEST_F(Verify, SeveralBytesAreNarrowedToTheirBlock) {
  const std::uint64_t data = TensorFile(store() / kW1).data_offset();
  flip(kW1, data + 10);
  flip(kW1, data + 5000);
  EXPECT_THAT(verify().problems, ElementsAre(problem(kW1, "several bytes from byte 0 to ")));
}

TEST_F(Verify, MissingCutAndForeignFilesAreNamed) {
  std::filesystem::remove(store() / kNorm);
  std::filesystem::resize_file(store() / kW1, 100);
  std::filesystem::copy_file(store() / "lm_head.input_tensor_b.tensorbin", store() / "layers/old.tensorbin");
  EXPECT_THAT(verify().problems, ElementsAre(problem(kW1, "has 100 bytes"), problem("layers/old.tensorbin", "not in the manifest"),
                                             problem(kNorm, "is missing")));
}

TEST_F(Verify, AFileOfAnotherShapeIsNamedEvenWhenItsChecksumFits) {
  Manifest manifest = *read_manifest(store());
  ManifestEntry& entry = manifest.files.at(kW1);
  entry.description->shard_shape = {144, 224};
  entry.description_sha256 = sha256_of(*entry.description);
  write_file_atomically(store() / kManifestFile, std::string_view(manifest_text(manifest)));
  EXPECT_THAT(verify().problems, ElementsAre(problem(kW1, "the manifest says [144, 224]")));
}

TEST_F(Verify, AStoreWithoutAManifestIsRefused) {
  std::filesystem::remove(store() / kManifestFile);
  EXPECT_THAT([&] { verify(); }, ThrowsMessage<Error>(HasSubstr("has no manifest.json")));
}

}  // namespace
}  // namespace meshseek

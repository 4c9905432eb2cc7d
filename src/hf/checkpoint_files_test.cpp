#include "hf/checkpoint_files.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "hf/state_dict.hpp"
#include "hf/test_files.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::safetensors_bytes;
using testing::write_text;

constexpr const char* kIndex = "model.safetensors.index.json";

class CheckpointFolder : public ::testing::Test {
 protected:
  Path path(const std::string& name) const { return folder_.path() / name; }
  void write(const std::string& name, const std::string& text) const { write_text(path(name), text); }
  /// A shard with one tensor of two floats.
  void write_shard(const std::string& file, const std::string& tensor) const {
    write(file, safetensors_bytes(fmt::format(R"({{"{}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}})", tensor), 8));
  }
  std::string open_error() const {
    const std::string message = error_of([&] { open_checkpoint(folder_.path()); });
    EXPECT_THAT(message, HasSubstr(folder_.path().string()));
    return message;
  }
  CheckpointFiles open() const { return open_checkpoint(folder_.path()); }

 private:
  TemporaryFolder folder_;
};

TEST_F(CheckpointFolder, ShardsAreTakenFromTheIndex) {
  write_shard("b.safetensors", "y");
  write_shard("a.safetensors", "x");
  write(kIndex, R"({"metadata": {}, "weight_map": {"y": "b.safetensors", "x": "a.safetensors"}})");
  const CheckpointFiles files = open();
  EXPECT_THAT(files.files, ElementsAre(path("a.safetensors"), path("b.safetensors")));
  EXPECT_EQ(files.tensors.size(), 2U);
}

TEST_F(CheckpointFolder, TheIndexDecidesBetweenShardsThatHoldTheSameTensor) {
  write_shard("a.safetensors", "x");
  write("b.safetensors",
        safetensors_bytes(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                          12));
  write(kIndex, R"({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})");
  EXPECT_EQ(open().tensors.find("x")->second.file->path(), path("a.safetensors"));
}

TEST_F(CheckpointFolder, RefusesAnEmptyFolderWithAdvice) {
  EXPECT_THAT(open_error(), AllOf(HasSubstr("no weights"), HasSubstr("model.safetensors"), HasSubstr("download")));
}

TEST_F(CheckpointFolder, RefusesAFolderThatDoesNotExist) {
  EXPECT_THAT(error_of([&] { open_checkpoint(path("nowhere")); }), AllOf(HasSubstr("nowhere"), HasSubstr("cannot read")));
}

TEST_F(CheckpointFolder, RefusesPickledWeightsWithAdvice) {
  for (const char* name : {"pytorch_model.bin", "consolidated.00.pth", "model.pt"}) {
    write(name, "PK");
    EXPECT_THAT(open_error(), AllOf(HasSubstr(name), HasSubstr("convert them"), HasSubstr("safetensors")));
    std::filesystem::remove(path(name));
  }
}

TEST_F(CheckpointFolder, RefusesShardsWithoutIndex) {
  write_shard("model-00001-of-000002.safetensors", "x");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("model-00001-of-000002.safetensors"), HasSubstr(kIndex)));
}

TEST_F(CheckpointFolder, RefusesAnIndexThatNamesAMissingShard) {
  write(kIndex, R"({"weight_map": {"x": "a.safetensors"}})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("\"a.safetensors\""), HasSubstr("missing")));
}

TEST_F(CheckpointFolder, RefusesShardNamesWithPathParts) {
  for (const char* name :
       {"../a.safetensors", "/a.safetensors", "sub/a.safetensors", "..\\\\a.safetensors", "..", ".", "", "a\\u0000.safetensors"}) {
    write(kIndex, fmt::format(R"({{"weight_map": {{"x": "{}"}}}})", name));
    EXPECT_THAT(open_error(), HasSubstr("without path parts")) << name;
  }
}

TEST_F(CheckpointFolder, RefusesShardsThatAreNotSafetensors) {
  write(kIndex, R"({"weight_map": {"x": "pytorch_model-00001-of-000002.bin"}})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr(".bin"), HasSubstr("convert the checkpoint")));
}

TEST_F(CheckpointFolder, RefusesATensorThatItsShardLacks) {
  write_shard("a.safetensors", "x");
  write(kIndex, R"({"weight_map": {"x": "a.safetensors", "y": "a.safetensors"}})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("a.safetensors"), HasSubstr("\"y\""), HasSubstr("lacks")));
}

TEST_F(CheckpointFolder, RefusesAnIndexThatIsNotJson) {
  write(kIndex, "{\"weight_map\": {");
  EXPECT_THAT(open_error(), AllOf(HasSubstr(kIndex), HasSubstr("not valid JSON")));
}

TEST_F(CheckpointFolder, RefusesAnIndexWithoutWeightMap) {
  for (const char* text : {R"({"metadata": {}})", "[]", "3"}) {
    write(kIndex, text);
    EXPECT_THAT(open_error(), HasSubstr("no weight_map")) << text;
  }
  write(kIndex, R"({"weight_map": []})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("weight_map"), HasSubstr("expected an object")));
  write(kIndex, R"({"weight_map": {}})");
  EXPECT_THAT(open_error(), HasSubstr("empty weight_map"));
  write(kIndex, R"({"weight_map": {"x": 1}})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("\"x\""), HasSubstr("expected a string")));
}

TEST_F(CheckpointFolder, RefusesATensorThatTheIndexNamesTwice) {
  write(kIndex, R"({"weight_map": {"x": "a.safetensors", "x": "b.safetensors"}})");
  EXPECT_THAT(open_error(), AllOf(HasSubstr("\"x\""), HasSubstr("twice")));
}

TEST_F(CheckpointFolder, RefusesATruncatedShard) {
  write_shard("a.safetensors", "x");
  write(kIndex, R"({"weight_map": {"x": "a.safetensors"}})");
  std::filesystem::resize_file(path("a.safetensors"), std::filesystem::file_size(path("a.safetensors")) - 1);
  EXPECT_THAT(open_error(), AllOf(HasSubstr("a.safetensors"), HasSubstr("truncated")));
}

/// Resident memory of this process in bytes.
std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

TEST_F(CheckpointFolder, OpeningASparse4GigabyteCheckpointCostsLessThan50Megabytes) {
  constexpr std::int64_t kTensors = 1024;
  constexpr std::int64_t kTensorBytes = std::int64_t{4} << 20;
  std::string header = "{";
  for (std::int64_t i = 0; i < kTensors; ++i) {
    header += fmt::format(R"({}"t{}":{{"dtype":"BF16","shape":[2048,1024],"data_offsets":[{},{}]}})", i == 0 ? "" : ",", i,
                          i * kTensorBytes, (i + 1) * kTensorBytes);
  }
  write("model.safetensors", safetensors_bytes(header + "}", 0));
  std::filesystem::resize_file(path("model.safetensors"), std::filesystem::file_size(path("model.safetensors")) + kTensors * kTensorBytes);
  const std::size_t before = resident_bytes();
  ASSERT_GT(before, 0U);
  const StateDict dict(path("model.safetensors").parent_path(), HfConfig{});
  EXPECT_EQ(dict.shape("t1023"), (Shape{2048, 1024}));
  EXPECT_LT(resident_bytes(), before + 50'000'000);
}

}  // namespace
}  // namespace meshseek

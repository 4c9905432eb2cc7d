#include "hf/safetensors.hpp"

#include <fmt/format.h>

#include <cstring>
#include <numeric>

#include "hf/test_files.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using testing::safetensors_bytes;
using testing::write_text;

class Safetensors : public ::testing::Test {
 protected:
  Path path() const { return folder_.path() / "x.safetensors"; }

 private:
  TemporaryFolder folder_;
};

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":{}}})", dtype, shape, offsets);
}

TEST_F(Safetensors, ReadsEveryDtypeInPlace) {
  const std::string header =
      fmt::format(R"({{"__metadata__":{{"format":"pt"}},"a":{},"b":{},"c":{},"d":{},"e":{},"f":{},"g":{},"h":{}}} )",
                  tensor("F32", "[2,1]", "[0,8]"), tensor("F16", "[1]", "[8,10]"), tensor("BF16", "[3]", "[10,16]"),
                  tensor("F8_E4M3", "[1,2]", "[16,18]"), tensor("F8_E8M0", "[]", "[18,19]"), tensor("I64", "[1]", "[19,27]"),
                  tensor("I32", "[0,7]", "[27,27]"), tensor("F64", "[1]", "[27,35]"));
  std::string file = safetensors_bytes(header, 35);
  std::iota(file.end() - 35, file.end(), char{1});
  write_text(path(), file);
  const auto tensors = read_safetensors(path());
  ASSERT_EQ(tensors.size(), 8U);
  EXPECT_EQ(tensors.at("a").shape, (Shape{2, 1}));
  EXPECT_EQ(tensors.at("d").dtype, HfDtype::F8_E4M3);
  EXPECT_EQ(tensors.at("e").shape, Shape{});
  EXPECT_EQ(tensors.at("e").bytes[0], std::byte{19});
  EXPECT_EQ(tensors.at("g").bytes.size(), 0U);
  EXPECT_EQ(tensors.at("h").bytes[7], std::byte{35});
  EXPECT_EQ(to_string(tensors.at("h").dtype), "F64");
}

TEST_F(Safetensors, OrderOfTheHeaderNeedNotBeTheOrderOfTheData) {
  write_text(path(),
             safetensors_bytes(fmt::format(R"({{"b":{},"a":{}}})", tensor("I32", "[1]", "[4,8]"), tensor("I32", "[1]", "[0,4]")), 8));
  EXPECT_EQ(read_safetensors(path()).size(), 2U);
}

TEST_F(Safetensors, ViewsOutliveTheMap) {
  write_text(path(), safetensors_bytes(fmt::format(R"({{"a":{}}})", tensor("I32", "[1]", "[0,4]")), 4));
  const HfTensor kept = read_safetensors(path()).at("a");
  EXPECT_EQ(kept.bytes[3], std::byte{0});
}

TEST_F(Safetensors, WrittenTensorsAreReadBackInOrderAndAligned) {
  const std::vector<float> values = {1.5F, -2.0F, 3.25F};
  const std::vector<std::int32_t> ids = {7, -8};
  const std::vector<NamedArray> arrays = {{"z", HfDtype::F32, {3, 1}, std::as_bytes(std::span(values))},
                                          {"a \"\u00e4\"", HfDtype::I32, {2}, std::as_bytes(std::span(ids))},
                                          {"empty", HfDtype::BF16, {0, 5}, {}}};
  write_safetensors(path(), arrays);
  const auto tensors = read_safetensors(path());
  ASSERT_EQ(tensors.size(), 3U);
  for (const NamedArray& array : arrays) {
    const HfTensor& read = tensors.at(array.name);
    EXPECT_EQ(read.dtype, array.dtype);
    EXPECT_EQ(read.shape, array.shape);
    ASSERT_EQ(read.bytes.size(), array.bytes.size());
    EXPECT_TRUE(std::equal(read.bytes.begin(), read.bytes.end(), array.bytes.begin()));
  }
  EXPECT_LT(tensors.at("z").bytes.data(), tensors.at("a \"\u00e4\"").bytes.data());
  EXPECT_EQ((tensors.at("z").bytes.data() - tensors.at("z").file->bytes().data()) % 8, 0);
}

TEST_F(Safetensors, WriterRefusesWhatTheReaderWouldRefuse) {
  const std::vector<float> values = {1.0F};
  const auto bytes = std::as_bytes(std::span(values));
  const auto refusal = [&](std::vector<NamedArray> arrays) { return error_of([&] { write_safetensors(path(), arrays); }); };
  EXPECT_THAT(refusal({{"a", HfDtype::F32, {2}, bytes}}), HasSubstr("needs 8"));
  EXPECT_THAT(refusal({{"a", HfDtype::F32, {1}, bytes}, {"a", HfDtype::F32, {1}, bytes}}), HasSubstr("given twice"));
  EXPECT_THAT(refusal({{"__metadata__", HfDtype::F32, {1}, bytes}}), HasSubstr("reserved"));
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(Safetensors, RefusesAMissingFile) {
  EXPECT_THAT(error_of([&] { read_safetensors(path()); }), HasSubstr(path().string()));
}

TEST_F(Safetensors, RefusesAMalformedFileByItsPath) {
  write_text(path(), "1234567");
  EXPECT_THAT(error_of([&] { read_safetensors(path()); }), HasSubstr(path().string()));
}

TEST_F(Safetensors, BytesInMemoryAreReadInPlace) {
  const std::string file = safetensors_bytes(fmt::format(R"({{"a":{}}})", tensor("I32", "[1]", "[0,4]")), 4);
  const HfTensor read = parse_safetensors(std::as_bytes(std::span(file)), "memory").at("a");
  EXPECT_EQ(static_cast<const void*>(read.bytes.data()), file.data() + file.size() - 4);
  EXPECT_EQ(read.file, nullptr);
}

}  // namespace
}  // namespace meshseek

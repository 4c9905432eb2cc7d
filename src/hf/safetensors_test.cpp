#include "hf/safetensors.hpp"

#include <fmt/format.h>

#include <cstring>
#include <numeric>

#include "hf/test_files.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::safetensors_bytes;
using testing::write_text;

class Safetensors : public ::testing::Test {
 protected:
  Path path() const { return folder_.path() / "x.safetensors"; }

  /// What reading this file reports; it must name the file.
  std::string error_of_bytes(const std::string& bytes) const {
    write_text(path(), bytes);
    const std::string message = error_of([&] { read_safetensors(path()); });
    EXPECT_THAT(message, HasSubstr(path().string()));
    return message;
  }
  std::string error_of_header(const std::string& header, std::size_t data_bytes = 0) const {
    return error_of_bytes(safetensors_bytes(header, data_bytes));
  }

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

TEST_F(Safetensors, RefusesAFileWithoutHeaderLength) { EXPECT_THAT(error_of_bytes("1234567"), HasSubstr("has 7 bytes")); }

TEST_F(Safetensors, RefusesAHeaderLengthBeyondTheFile) {
  EXPECT_THAT(error_of_bytes(safetensors_bytes("{}", 0).substr(0, 9)), HasSubstr("only 1 follow"));
}

TEST_F(Safetensors, RefusesAHeaderOfMoreThan100Megabytes) {
  const std::uint64_t lengths[] = {100'000'001, ~std::uint64_t{0}};
  for (const std::uint64_t length : lengths) {
    std::string file(16, ' ');
    std::memcpy(file.data(), &length, sizeof(length));
    write_text(path(), file);
    std::filesystem::resize_file(path(), 100'000'100);
    EXPECT_THAT(error_of([&] { read_safetensors(path()); }), HasSubstr("at most 100000000"));
  }
}

TEST_F(Safetensors, RefusesAHeaderThatIsNotJson) {
  EXPECT_THAT(error_of_header("{\"a\":"), HasSubstr("not valid JSON"));
  EXPECT_THAT(error_of_header(""), HasSubstr("not valid JSON"));
}

TEST_F(Safetensors, RefusesAHeaderThatIsNoObject) {
  EXPECT_THAT(error_of_header("[1, 2]"), HasSubstr("expected an object"));
  EXPECT_THAT(error_of_header(" {}"), HasSubstr("starts with a blank"));
}

TEST_F(Safetensors, RefusesMetadataThatAreNotStrings) {
  EXPECT_THAT(error_of_header(R"({"__metadata__":{"format":1}})"), AllOf(HasSubstr("__metadata__"), HasSubstr("string")));
}

TEST_F(Safetensors, RefusesAnUnknownDtypeAndListsTheKnown) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F8_E5M2", "[1]", "[0,1]")), 1),
              AllOf(HasSubstr("\"w\""), HasSubstr("F8_E5M2"), HasSubstr("BF16")));
}

TEST_F(Safetensors, RefusesMissingAndUnknownMembers) {
  EXPECT_THAT(error_of_header(R"({"w":{"dtype":"F32","shape":[1]}})", 4), HasSubstr("has no data_offsets"));
  EXPECT_THAT(error_of_header(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}})", 4), HasSubstr("strides"));
}

TEST_F(Safetensors, RefusesANegativeDimension) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F32", "[-1,-1]", "[0,4]")), 4), HasSubstr("negative dimension -1"));
}

TEST_F(Safetensors, RefusesDimensionsThatAreNoIntegers) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F32", "[1.0]", "[0,4]")), 4), HasSubstr("expected an integer"));
}

TEST_F(Safetensors, RefusesMoreThanEightDimensions) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]")), 4), HasSubstr("at most 8"));
}

TEST_F(Safetensors, RefusesDimensionsWhoseProductOverflows) {
  for (const char* shape : {"[4611686018427387904,4]", "[4294967296,4294967296]", "[2305843009213693952]", "[4294967296,1073741824]"}) {
    EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F32", shape, "[0,0]"))), HasSubstr("overflows"));
  }
}

TEST_F(Safetensors, RefusesAShapeThatDoesNotFitItsBytes) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("BF16", "[3,2]", "[0,10]")), 10),
              AllOf(HasSubstr("has 10 bytes"), HasSubstr("needs 12")));
}

TEST_F(Safetensors, RefusesOffsetsThatRunBackwards) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F32", "[1]", "[4,0]")), 4), HasSubstr("begin <= end"));
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F32", "[1]", "[-4,0]")), 4), HasSubstr("0 <= begin"));
  EXPECT_THAT(error_of_header(fmt::format(R"({{"w":{}}})", tensor("F32", "[1]", "[0,4,8]")), 4), HasSubstr("has 3 data_offsets"));
}

TEST_F(Safetensors, RefusesAnOverlapOfTensors) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"a":{},"b":{}}})", tensor("I32", "[2]", "[0,8]"), tensor("I32", "[2]", "[4,12]")), 12),
              AllOf(HasSubstr("\"b\""), HasSubstr("overlaps")));
}

TEST_F(Safetensors, RefusesAHoleBetweenTensors) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"a":{},"b":{}}})", tensor("I32", "[1]", "[0,4]"), tensor("I32", "[1]", "[5,9]")), 9),
              AllOf(HasSubstr("\"b\""), HasSubstr("hole")));
  EXPECT_THAT(error_of_header(fmt::format(R"({{"a":{}}})", tensor("I32", "[1]", "[4,8]")), 8), HasSubstr("hole"));
}

TEST_F(Safetensors, RefusesATensorBeyondTheFile) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"a":{}}})", tensor("I32", "[2]", "[0,8]")), 7),
              AllOf(HasSubstr("truncated"), HasSubstr("there are 7")));
}

TEST_F(Safetensors, RefusesBytesAfterTheLastTensor) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"a":{}}})", tensor("I32", "[2]", "[0,8]")), 9), HasSubstr("1 bytes after the last tensor"));
  EXPECT_THAT(error_of_header("{}", 3), HasSubstr("3 bytes after the last tensor"));
}

TEST_F(Safetensors, RefusesADuplicateName) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"a":{},"a":{}}})", tensor("I32", "[1]", "[0,4]"), tensor("I32", "[1]", "[4,8]")), 8),
              AllOf(HasSubstr("\"a\""), HasSubstr("twice")));
}

TEST_F(Safetensors, NamesWithControlCharactersStayOnOneLineOfTheMessage) {
  EXPECT_THAT(error_of_header(fmt::format(R"({{"a\nb":{}}})", tensor("X", "[1]", "[0,4]")), 4), HasSubstr("\"a?b\""));
}

}  // namespace
}  // namespace meshseek

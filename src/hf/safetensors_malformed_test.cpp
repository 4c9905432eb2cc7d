// Malformed safetensors, class by class.
#include <fmt/format.h>

#include "hf/safetensors.hpp"
#include "hf/test_files.hpp"
#include "tests/support/malformed.hpp"

namespace meshseek {
namespace {

using testing::MalformedFile;
using testing::safetensors_bytes;

/// A file whose header claims another length.
std::string with_length(std::uint64_t length) {
  std::string file = safetensors_bytes("{}", 0);
  std::memcpy(file.data(), &length, sizeof(length));
  return file;
}

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return fmt::format(R"({{"dtype":"{}","shape":{},"data_offsets":{}}})", dtype, shape, offsets);
}

/// A file of one tensor.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets, std::size_t data_bytes) {
  return safetensors_bytes(fmt::format(R"({{"w":{}}})", tensor(dtype, shape, offsets)), data_bytes);
}

/// A file of two tensors of four bytes each.
std::string two(const std::string& name, const std::string& first, const std::string& second, std::size_t data_bytes) {
  return safetensors_bytes(fmt::format(R"({{"a":{},"{}":{}}})", tensor("I32", "[1]", first), name, tensor("I32", "[1]", second)),
                           data_bytes);
}

std::vector<MalformedFile> malformed_headers() {
  return {{"empty", "", "the file has 0 bytes; expected 8"},
          {"no-length", "1234567", "the file has 7 bytes; expected 8"},
          {"length-beyond-file", with_length(3), "only 2 follow"},
          {"length-beyond-limit", with_length(100'000'001), "is 100000001 bytes; at most 100000000"},
          {"length-of-all-ones", with_length(~std::uint64_t{0}), "is 18446744073709551615 bytes; at most 100000000"},
          {"no-json", safetensors_bytes("{\"a\":", 0), "unexpected end of input"},
          {"empty-header", safetensors_bytes("", 0), "the header is empty"},
          {"no-utf8", safetensors_bytes("{\"\xFF\":{}}", 0), "ill-formed UTF-8"},
          {"no-object", safetensors_bytes("[1, 2]", 0), "the header is an array"},
          {"leading-blank", safetensors_bytes(" {}", 0), "starts with a blank"},
          {"duplicate-name", two("a", "[0,4]", "[4,8]", 8), "the key \"a\" is given twice"},
          {"metadata-no-object", safetensors_bytes(R"({"__metadata__":[]})", 0), "__metadata__] expected an object"},
          {"metadata-no-string", safetensors_bytes(R"({"__metadata__":{"format":1}})", 0), "__metadata__ \"format\"] expected a string"}};
}

std::vector<MalformedFile> malformed_entries() {
  return {
      {"entry-no-object", safetensors_bytes(R"({"w":[]})", 0), "\"w\"] expected an object"},
      {"member-missing", safetensors_bytes(R"({"w":{"dtype":"F32","shape":[1]}})", 4), "has no data_offsets"},
      {"member-unknown", safetensors_bytes(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]}})", 4), "\"strides\""},
      {"dtype-unknown", one("F8_E5M2", "[1]", "[0,1]", 1), "unknown dtype \"F8_E5M2\"; expected one of F32, F16, BF16"},
      {"dtype-no-string", safetensors_bytes(R"({"w":{"dtype":8,"shape":[1],"data_offsets":[0,4]}})", 4), "dtype] expected a string"},
      {"rank", one("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]", 4), "has 9 dimensions; at most 8"},
      {"shape-no-list", one("F32", "4", "[0,16]", 16), "shape] expected an array"},
      {"dimension-negative", one("F32", "[-1,-1]", "[0,4]", 4), "negative dimension -1"},
      {"dimension-no-integer", one("F32", "[1.0]", "[0,4]", 4), "shape] expected an integer"},
      {"size-overflows", one("F32", "[4294967296,1073741824]", "[0,0]", 0), "overflows 63 bits"},
      {"offsets-three", one("F32", "[1]", "[0,4,8]", 8), "has 3 data_offsets; expected [begin, end]"},
      {"offsets-no-integers", one("F32", "[1]", "[\"0\",4]", 4), "data_offsets] expected an integer"},
      {"offsets-negative", one("F32", "[1]", "[-4,0]", 4), "[-4, 0]; expected 0 <= begin <= end"},
      {"offsets-backwards", one("F32", "[1]", "[4,0]", 4), "[4, 0]; expected 0 <= begin <= end"},
      {"offsets-beyond-64-bits", one("F32", "[1]", "[0,18446744073709551616]", 4), "18446744073709551616 does not fit"},
      {"size-wrong", one("BF16", "[3,2]", "[0,10]", 10), "has 10 bytes in data_offsets, but shape [3, 2] of BF16 needs 12"}};
}

std::vector<MalformedFile> malformed_layouts() {
  return {{"overlap", two("b", "[0,4]", "[3,7]", 7), "\"b\"] begins at byte 3 of the data and overlaps the tensor before it; expected 4"},
          {"hole", two("b", "[0,4]", "[5,9]", 9), "\"b\"] begins at byte 5 of the data and leaves a hole behind the tensor before it"},
          {"hole-first", one("I32", "[1]", "[4,8]", 8), "\"w\"] begins at byte 4 of the data and leaves a hole"},
          {"truncated", one("I32", "[2]", "[0,8]", 7), "ends at byte 8 of the data, but there are 7"},
          {"trailing", one("I32", "[2]", "[0,8]", 9), "has 1 bytes after the last tensor"},
          {"trailing-without-tensors", safetensors_bytes("{}", 3), "has 3 bytes after the last tensor"}};
}

TEST(MalformedSafetensors, EachClassHasItsOwnMessage) {
  std::vector<MalformedFile> files = malformed_headers();
  for (const auto& more : {malformed_entries(), malformed_layouts()}) files.insert(files.end(), more.begin(), more.end());
  testing::expect_own_messages(files, [](const std::string& content) { parse_safetensors(std::as_bytes(std::span(content)), "file"); });
}

TEST(MalformedSafetensors, EveryProductThatOverflowsIsRefused) {
  for (const char* shape : {"[4611686018427387904,4]", "[4294967296,4294967296]", "[2305843009213693952]"}) {
    const std::string content = one("F32", shape, "[0,0]", 0);
    EXPECT_THAT(testing::error_of([&] { parse_safetensors(std::as_bytes(std::span(content)), "file"); }),
                ::testing::HasSubstr("overflows"));
  }
}

TEST(MalformedSafetensors, NamesWithControlCharactersStayOnOneLineOfTheMessage) {
  const std::string content = safetensors_bytes(fmt::format(R"({{"a\nb":{}}})", tensor("X", "[1]", "[0,4]")), 4);
  EXPECT_THAT(testing::error_of([&] { parse_safetensors(std::as_bytes(std::span(content)), "file"); }), ::testing::HasSubstr("\"a?b\""));
}

}  // namespace
}  // namespace meshseek

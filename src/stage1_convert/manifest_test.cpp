#include "stage1_convert/manifest.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/support/malformed.hpp"

namespace meshseek {
namespace {

using testing::MalformedFile;

constexpr const char* kDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One entry of a copied file, with parts of it replaced.
std::string document(const std::string& files, const std::string& head = R"("format_version": 1, "converter_version": 2)") {
  return "{" + head + R"(, "files": )" + files + "}";
}

std::string entry(const std::string& bytes, const std::string& sha256, const std::string& blocks, const std::string& rest = "") {
  return R"({"config.json": {"bytes": )" + bytes + R"(, "sha256": ")" + sha256 + R"(", "blocks": ")" + blocks + R"(", "source_files": [])" +
         rest + "}}";
}

TEST(Manifest, IsWrittenAndReadAgain) {
  Manifest manifest = {.converter_version = 2};
  ManifestEntry& copied = manifest.files["config.json"];
  copied = {.bytes = 0, .sha256 = kDigest};
  TensorDescription description = {.shape = {64, 32}, .shard_shape = {32, 32}, .dtype = "bfloat8_b", .layout = "TILE", .mesh = "1x2"};
  description.placement = {"replicate", "shard(0)"};
  ManifestEntry& tensor = manifest.files["layers/0/w.tensorbin"];
  tensor = {.bytes = 1, .sha256 = kDigest, .blocks = std::string(20, '0'), .source_files = {"model.safetensors"}};
  tensor.description = description;
  tensor.description_sha256 = sha256_of(description);
  const std::string text = manifest_text(manifest);
  const Manifest read = parse_manifest(text, "file");
  EXPECT_EQ(manifest_text(read), text);
  EXPECT_EQ(read.files.at("layers/0/w.tensorbin").description->placement, description.placement);
}

TEST(Manifest, ADescriptionsDigestChangesWithEachOfItsFields) {
  const TensorDescription base = {.shape = {64, 32}, .dtype = "bfloat8_b"};
  std::set<std::string> digests = {sha256_of(base)};
  const auto expect_new = [&](const auto& change) {
    TensorDescription changed = base;
    change(changed);
    EXPECT_TRUE(digests.insert(sha256_of(changed)).second);
  };
  expect_new([](TensorDescription& d) { d.shape = {32, 64}; });
  expect_new([](TensorDescription& d) { d.shard_shape = {32, 64}; });
  expect_new([](TensorDescription& d) { d.dtype = "bfloat4_b"; });
  expect_new([](TensorDescription& d) { d.layout = "TILE"; });
  expect_new([](TensorDescription& d) { d.mesh = "1x2"; });
  expect_new([](TensorDescription& d) { d.placement = {"replicate"}; });
  expect_new([](TensorDescription& d) { d.ranks = "0-1"; });
  expect_new([](TensorDescription& d) { d.transform = 9; });
  expect_new([](TensorDescription& d) { d.sources_sha256 = "1"; });
  expect_new([](TensorDescription& d) { d.size_mtime = "1"; });
  expect_new([](TensorDescription& d) { d.content = "1"; });
}

TEST(MalformedManifests, EachClassHasItsOwnMessage) {
  const std::string good = entry("0", kDigest, "");
  EXPECT_EQ(parse_manifest(document(good), "file").files.size(), 1U);
  const std::vector<MalformedFile> files = {
      {"no JSON", "{\"format_version\": 1", "1:20"},
      {"no object", "[1]", "an array"},
      {"duplicate path", document(good.substr(0, good.size() - 1) + "," + good.substr(1)), "twice"},
      {"no version", R"({"converter_version": 2, "files": {}})", "has no \"format_version\""},
      {"another version", document("{}", R"("format_version": 7, "converter_version": 2)"), "format_version 7"},
      {"no converter version", R"({"format_version": 1, "files": {}})", "has no \"converter_version\""},
      {"no files", R"({"format_version": 1, "converter_version": 2})", "has no \"files\""},
      {"unknown key", document("{}", R"("format_version": 1, "converter_version": 2, "extra": 1)"), "extra"},
      {"files no object", document("[1, 2]"), "files] expected an object"},
      {"absolute path", R"({"format_version": 1, "converter_version": 2, "files": {"/etc/passwd": {}}})",
       "\"/etc/passwd\" leaves the store"},
      {"path upwards", R"({"format_version": 1, "converter_version": 2, "files": {"a/../../b": {}}})", "\"a/../../b\" leaves the store"},
      {"size no number", document(entry("\"12\"", kDigest, "")), "got a string (\"12\")"},
      {"size beyond every disk", document(entry("9223372036854775807", kDigest, "")), "9223372036854775807 is no size"},
      {"negative size", document(entry("-5", kDigest, "")), "-5 is no size"},
      {"digest too short", document(entry("0", "abc", "")), "\"abc\" is no SHA-256"},
      {"digest of two lines", document(entry("0", "a\\nb", "")), "\"a?b\" is no SHA-256"},
      {"digest no hex", document(entry("0", std::string(64, 'x'), "")), "xxxx\" is no SHA-256"},
      {"too few blocks", document(entry("2000000", kDigest, "")), "no list of 2 block sums"},
      {"blocks no hex", document(entry("3", kDigest, std::string(20, 'z'))), "no list of 1 block sums"},
      {"unknown field", document(entry("0", kDigest, "", R"(, "colour": 1)")), "colour"},
      {"another description", document(entry("0", kDigest, "", R"(, "description": {}, "description_sha256": "00")")),
       "does not belong to the description"},
      {"description no object", document(entry("0", kDigest, "", R"(, "description": 3)")), "description] expected"},
  };
  std::vector<std::string> messages;
  for (const MalformedFile& file : files) {
    SCOPED_TRACE(file.name);
    messages.emplace_back();
    try {
      parse_manifest(file.content, "file");
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      messages.back() = error.what();
      EXPECT_THAT(messages.back(), ::testing::HasSubstr(file.expected));
      EXPECT_THAT(messages.back(), ::testing::StartsWith("[file"));
      EXPECT_THAT(messages.back(), ::testing::Not(::testing::HasSubstr("\n")));
    }
  }
  EXPECT_EQ(std::set<std::string>(messages.begin(), messages.end()).size(), files.size());
}

}  // namespace
}  // namespace meshseek

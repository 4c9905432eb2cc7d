#include "hf/unicode.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "config/tree.hpp"
#include "hf/tokenizer.hpp"
#include "hf/unicode_classes.hpp"

namespace meshseek {
namespace {

using namespace std::string_literals;

TEST(Utf8, AcceptsEveryScalarValueAndItsOwnSpelling) {
  for (std::uint32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point >= 0xD800 && code_point <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, code_point);
    const Utf8Step step = read_utf8(text);
    ASSERT_TRUE(step.valid) << code_point;
    ASSERT_EQ(step.code_point, code_point);
    ASSERT_EQ(step.length, text.size());
    ASSERT_EQ(find_invalid_utf8(text), std::nullopt);
  }
}

TEST(Utf8, NamesTheFirstInvalidByte) {
  EXPECT_EQ(find_invalid_utf8(""), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("aé中😀"), std::nullopt);
  EXPECT_EQ(find_invalid_utf8("ab\x80"), 2u);     // continuation without a lead
  EXPECT_EQ(find_invalid_utf8("é\xC0\xAF"), 2u);  // overlong, two bytes
  EXPECT_EQ(find_invalid_utf8("a\xC1\xBF"), 1u);
  EXPECT_EQ(find_invalid_utf8("\xE0\x9F\xBF"), 0u);       // overlong, three bytes
  EXPECT_EQ(find_invalid_utf8("\xF0\x8F\xBF\xBF"), 0u);   // overlong, four bytes
  EXPECT_EQ(find_invalid_utf8("x\xED\xA0\x80"), 1u);      // U+D800
  EXPECT_EQ(find_invalid_utf8("x\xED\xBF\xBF"), 1u);      // U+DFFF
  EXPECT_EQ(find_invalid_utf8("x\xF4\x90\x80\x80"), 1u);  // U+110000
  EXPECT_EQ(find_invalid_utf8("x\xF5\x80\x80\x80"), 1u);
  EXPECT_EQ(find_invalid_utf8("x\xFF"), 1u);
  EXPECT_EQ(find_invalid_utf8("ab\xC3"), 2u);  // cut
  EXPECT_EQ(find_invalid_utf8("ab\xE4\xB8"), 2u);
  EXPECT_EQ(find_invalid_utf8("ab\xF0\x9F\x98"), 2u);
  EXPECT_EQ(find_invalid_utf8("\xE4\xB8z"), 0u);  // broken off by another character
  EXPECT_EQ(find_invalid_utf8("\xC3\xC3\xA9"), 0u);
}

TEST(Utf8Stream, HoldsACharacterBackUntilItIsComplete) {
  const std::string text = "aé中😀z";
  Utf8Stream stream;
  std::string out;
  for (const char byte : text) {
    const std::string part = stream.push(std::string_view(&byte, 1));
    EXPECT_EQ(find_invalid_utf8(part), std::nullopt);
    out += part;
  }
  EXPECT_EQ(out, text);
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, GivesOneReplacementForACutCharacterAtTheEnd) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0\x9F\x98"), "a");
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push("b"), "b");
}

// Expectations are those of Python's bytes.decode(errors="replace").
TEST(Utf8Stream, ReplacesInvalidSequencesLikePythonDoes) {
  const auto whole = [](const std::string& bytes) {
    Utf8Stream stream;
    std::string out = stream.push(bytes);
    return out + stream.finish();
  };
  EXPECT_EQ(whole("a\x80z"), "a\uFFFDz");
  EXPECT_EQ(whole("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(whole("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(whole("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(whole("\xE4\xB8z"), "\uFFFDz");
  EXPECT_EQ(whole("\xF0\x9F\x98\xE4\xB8\xAD"), "\uFFFD中");
  EXPECT_EQ(whole("\xE4\xB8\xE4\xB8"), "\uFFFD\uFFFD");
}

TEST(Unicode, DecodingRefusesInvalidText) {
  EXPECT_EQ(decode_utf8("aé", "x"), U"aé");
  EXPECT_THROW(decode_utf8("a\xFF", "x"), Error);
}

TEST(UnicodeClasses, AreTheRangesOfTheReference) {
  std::ifstream file(std::filesystem::path(MESHSEEK_SOURCE_DIR) / "tests/data/tokenizers/goldens/unicode-classes.json");
  std::ostringstream text;
  text << file.rdbuf();
  const Tree root = parse_json(text.str(), "unicode-classes.json");
  for (const std::string name : {"L", "M", "N", "P", "S", "space"}) {
    const Tree::Array& expected = root.find("classes")->find(name)->as_array(name);
    const auto ranges = unicode_class(name);
    ASSERT_EQ(ranges.size(), expected.size()) << name;
    std::int64_t count = 0;
    for (std::size_t i = 0; i < ranges.size(); ++i) {
      ASSERT_EQ(ranges[i].first, expected[i].as_array(name)[0].as_integer(name));
      ASSERT_EQ(ranges[i].last, expected[i].as_array(name)[1].as_integer(name));
      count += ranges[i].last - ranges[i].first + 1;
    }
    EXPECT_EQ(count, root.find("counts")->find(name)->as_integer(name));
  }
  EXPECT_TRUE(unicode_class("Lu").empty());
}

}  // namespace
}  // namespace meshseek

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include "base/error.hpp"
#include "config/tree.hpp"

namespace meshseek {
namespace {
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

std::string error_of(const std::string& text) {
  try {
    parse_json(text, "file.json");
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "accepted";
}

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
}

TEST(Json, PrintsWhatItParsedByteForByte) {
  const std::string text =
      "{\n  \"b\": 1,\n  \"a\": [1, 2.5, \"x\", null, true, false],\n  \"c\": {},\n  \"d\": [],\n"
      "  \"e\": [\n    [1, 2],\n    {\n      \"f\": -0.0\n    }\n  ]\n}\n";
  EXPECT_EQ(to_json(parse_json(text, "t")), text);
}

TEST(Json, KeepsTheOrderOfKeys) {
  const Tree tree = parse_json(R"({"z": 1, "a": 2, "m": 3})", "t");
  EXPECT_EQ(to_json_line(tree), R"({"z":1,"a":2,"m":3})");
}

TEST(Json, KeepsDoublesApartFromIntegers) {
  EXPECT_EQ(to_json_line(parse_json("[1, 1.0, 1e2, 1e22, -0.0, 0.1, 100000.0]", "t")), "[1,1.0,100.0,1e+22,-0.0,0.1,1e+05]");
  EXPECT_TRUE(parse_json("7", "t").is_integer());
  EXPECT_FALSE(parse_json("7.0", "t").is_integer());
}

TEST(Json, EveryFiniteDoubleSurvivesTheRoundTrip) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const std::uint64_t bits = random();
    double value = 0;
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isfinite(value)) continue;
    const std::string text = to_json_line(Tree(value));
    const Tree read = parse_json(text, "t");
    ASSERT_FALSE(read.is_integer()) << text;
    ASSERT_EQ(read.as_number("t"), value) << text;
    ASSERT_EQ(to_json_line(read), text);
  }
}

TEST(Json, ReadsTheWholeRangeOf64BitIntegersAndNothingBeyond) {
  EXPECT_EQ(parse_json("9223372036854775807", "t").as_integer("t"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_json("-9223372036854775808", "t").as_integer("t"), std::numeric_limits<std::int64_t>::min());
  for (const char* text : {"9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775809"}) {
    EXPECT_THAT(error_of(text), HasSubstr(std::string(text) + " does not fit in 64 bits"));
  }
}

TEST(Json, RefusesDoublesThatOverflow) { EXPECT_THAT(error_of("[1e999]"), HasSubstr("overflow")); }

TEST(Json, NamesLineAndColumnOfADuplicateKey) {
  EXPECT_EQ(error_of("{\"a\": 1,\n  \"a\": 2}"), "[file.json:2:5] the key \"a\" is given twice in one object; keep one");
}

TEST(Json, FindsADuplicateKeyInALargeObject) {
  std::string text = "{";
  for (int i = 0; i < 1000; ++i) text += "\"key" + std::to_string(i) + "\": 0, ";
  EXPECT_EQ(error_of(text + "\"last\": 0}"), "accepted");
  EXPECT_THAT(error_of(text + "\"key3\": 0}"), HasSubstr("\"key3\" is given twice"));
  EXPECT_THAT(error_of(text + "\"key999\": 0}"), HasSubstr("\"key999\" is given twice"));
}

TEST(Json, AllowsTheSameKeyInDifferentObjects) { EXPECT_EQ(error_of(R"([{"a": {"a": 1}}, {"a": 1}])"), "accepted"); }

TEST(Json, SeesEscapedDuplicatesOfAKey) { EXPECT_THAT(error_of("{\"a\": 1, \"\\u0061\": 2}"), HasSubstr("given twice")); }

TEST(Json, AcceptsTwoHundredLevelsAndNoMore) {
  const Tree deepest = parse_json(nested(200), "t");
  EXPECT_EQ(parse_json(to_json(deepest), "t"), deepest);
  EXPECT_THAT(error_of(nested(201)), HasSubstr("deeper than 200"));
  EXPECT_THAT(error_of(std::string(1000000, '[')), HasSubstr("deeper than 200"));
  EXPECT_THROW(to_json(Tree(Tree::Array{deepest})), ConfigError);
}

TEST(Json, RefusesMalformedText) {
  for (const char* text :
       {"",   " ",  "{",  "[1,]", "{\"a\":1,}", "{'a':1}", "{a:1}",  "[1] x",   "nul",   "NaN",       "Infinity", "01",        "+1",
        ".5", "1.", "1e", "-",    "0x10",       "\"",      "\"\t\"", "\"\\x\"", "[1 2]", "{\"a\" 1}", "// c\n1",  "/* c */ 1", "]"}) {
    EXPECT_THAT(error_of(text), StartsWith("[file.json:1:")) << text;
  }
}

TEST(Json, RefusesWhatIsNotUtf8) {
  for (const char* text :
       {"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "\"\\ud800\"", "\"\\udc00\"", "\xff"}) {
    EXPECT_THAT(error_of(text), StartsWith("[file.json:1:"));
  }
}

TEST(Json, MessagesAreOneLineOfAscii) {
  const std::string text = error_of("[\"a\nb\xff" + std::string(10000, 'x') + "\"]");
  EXPECT_LT(text.size(), 400u);
  for (const char c : text) EXPECT_TRUE(c >= 0x20 && c < 0x7f);
  EXPECT_THAT(error_of("[\n\n  1,\n  x]"), StartsWith("[file.json:4:3] "));
}

TEST(Json, StringsOfAllCharactersSurviveTheRoundTrip) {
  std::string all;
  for (int c = 0; c < 0x80; ++c) all += static_cast<char>(c);
  all += "\u00e9\u4e2d\U0001f600\ufffd";
  const std::string text = to_json(Tree(all));
  EXPECT_EQ(parse_json(text, "t").as_string("t"), all);
  EXPECT_EQ(to_json(parse_json(text, "t")), text);
  EXPECT_EQ(to_json_line(parse_json(R"("\ud83d\ude00")", "t")), "\"\xf0\x9f\x98\x80\"");
}

TEST(Json, RefusesToWriteWhatItCouldNotRead) {
  EXPECT_THROW(to_json(Tree(std::numeric_limits<double>::infinity())), ConfigError);
  EXPECT_THROW(to_json(Tree(std::nan(""))), ConfigError);
  for (const char* text :
       {"\xff", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xe2\x82", "a\x80"}) {
    EXPECT_THROW(to_json(Tree(text)), ConfigError);
  }
}

/// A random tree; `depth` levels at most.
Tree random_tree(std::mt19937& random, int depth) {
  const auto below = [&](unsigned limit) { return static_cast<int>(random() % limit); };
  switch (below(depth > 0 ? 7 : 5)) {
    case 0:
      return Tree();
    case 1:
      return Tree(below(2) == 1);
    case 2:
      return Tree(static_cast<std::int64_t>((std::uint64_t{random()} << 32) | random()));
    case 3:
      return Tree(std::ldexp(static_cast<double>(random()), below(600) - 300));
    case 4:
      return Tree(std::string(static_cast<std::size_t>(below(4)), static_cast<char>(below(127))));
    case 5: {
      Tree::Array elements;
      for (int i = below(5); i > 0; --i) elements.push_back(random_tree(random, depth - 1));
      return Tree(std::move(elements));
    }
    default: {
      Tree tree{Tree::Object{}};
      for (int i = below(5); i > 0; --i) tree.set("k" + std::to_string(below(9)), random_tree(random, depth - 1));
      return tree;
    }
  }
}

TEST(Json, RandomTreesSurviveTheRoundTripAndTextIsByteIdentical) {
  std::mt19937 random(7);
  for (int i = 0; i < 3000; ++i) {
    const Tree tree = random_tree(random, 5);
    const std::string text = to_json(tree);
    ASSERT_EQ(parse_json(text, "t"), tree) << text;
    ASSERT_EQ(to_json(parse_json(text, "t")), text);
    ASSERT_EQ(parse_json(to_json_line(tree), "t"), tree);
  }
}

TEST(Json, TruncatedTextIsNeverAccepted) {
  const std::string text = R"({"a": [1, 2.5, "\u00e9", {"b": null}], "c": true})";
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_THAT(error_of(text.substr(0, size)), StartsWith("[file.json:1:"));
}

TEST(Json, ReadsARealTokenizerFile) {
  std::ifstream file(MESHSEEK_SOURCE_DIR "/tests/data/tokenizers/deepseek-v3/tokenizer.json", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Tree tree = parse_json(text, "tokenizer.json");
  EXPECT_EQ(tree.find("model")->find("vocab")->as_object("vocab").size(), 128000u);
  EXPECT_EQ(parse_json(to_json(tree), "t"), tree);
}

}  // namespace
}  // namespace meshseek

#include "hf/tokenizer_pattern.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"

namespace meshseek {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string_view> cut(std::string_view pattern, std::string_view text) { return SplitPattern(pattern, "p").isolate({text}); }

std::string refusal(std::string_view pattern) {
  try {
    SplitPattern compiled(pattern, "here");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SplitPattern, KeepsTheTextBetweenMatchesAsPieces) {
  EXPECT_THAT(cut("b+", "abbcb"), ElementsAre("a", "bb", "c", "b"));
  EXPECT_THAT(cut("x", "abc"), ElementsAre("abc"));
  EXPECT_THAT(cut("abc", "abc"), ElementsAre("abc"));
  EXPECT_THAT(SplitPattern("b", "p").isolate({"ab", "bc"}), ElementsAre("a", "b", "b", "c"));
}

TEST(SplitPattern, LooksNoFurtherThanThePiece) {
  EXPECT_THAT(cut("\\s+(?!\\S)", "a  b  "), ElementsAre("a", " ", " b", "  "));
  EXPECT_THAT(SplitPattern("\\s+(?!\\S)", "p").isolate({"a ", "b"}), ElementsAre("a", " ", "b"));
}

TEST(SplitPattern, UsesUnicode16Classes) {
  EXPECT_THAT(cut("\\p{L}+", "\u1C89\u2003"), ElementsAre("\u1C89", "\u2003"));  // a letter since Unicode 16
  EXPECT_THAT(cut("\\p{S}", "a\u20C1"), ElementsAre("a\u20C1"));                 // assigned after Unicode 16
  EXPECT_THAT(cut("\\s", "a\x1C\u180E\u200B"), ElementsAre("a\x1C\u180E\u200B"));
  EXPECT_THAT(cut("\\S+", "\u00A0é\u3000"), ElementsAre("\u00A0", "é", "\u3000"));
  EXPECT_THAT(cut("[^\\p{L}\\s]+", "é1! a"), ElementsAre("é", "1!", " a"));
  EXPECT_THAT(cut("[\\P{L}]+", "aé12"), ElementsAre("aé", "12"));
  EXPECT_THAT(cut("[^\\S\\n]+", "a \n\tb"), ElementsAre("a", " ", "\n", "\t", "b"));
  EXPECT_THAT(cut("[^\\P{N}]", "a1٢"), ElementsAre("a", "1", "٢"));
}

TEST(SplitPattern, ReadsClassesLikeTheFilesMeanThem) {
  EXPECT_THAT(cut("[\\[\\]\\-a]+", "b[a]-b"), ElementsAre("b", "[a]-", "b"));
  EXPECT_THAT(cut("[a-]+", "b-ab"), ElementsAre("b", "-a", "b"));
  EXPECT_THAT(cut("[!-/]", "a!b/c0"), ElementsAre("a", "!", "b", "/", "c0"));
  EXPECT_THAT(cut("x$", "ax\nx"), ElementsAre("a", "x", "\n", "x"));
}

TEST(SplitPattern, RefusesWhatTheEnginesReadDifferently) {
  EXPECT_THAT(refusal("\\p{Han}"), HasSubstr("the property \\p \"Han\""));
  EXPECT_THAT(refusal("\\p{Lu}"), HasSubstr("[here]"));
  EXPECT_THAT(refusal("\\w+"), HasSubstr("the escape \\ \"w\""));
  EXPECT_THAT(refusal("[a&&b]"), HasSubstr("a class intersection"));
  EXPECT_THAT(refusal("[a[b]]"), HasSubstr("a class inside a class"));
  EXPECT_THAT(refusal("(?P<n>a)"), HasSubstr("unknown (? head"));
  EXPECT_THAT(refusal("(*UCP)a"), HasSubstr("verb"));
  EXPECT_THAT(refusal("a{,3}"), HasSubstr("no repetition"));
  EXPECT_THAT(refusal("a{1,3}+"), HasSubstr("'+' after '}'"));
  EXPECT_THAT(refusal("[z-a]"), HasSubstr("bad range"));
}

TEST(SplitPattern, RefusesBadPatterns) {
  EXPECT_THAT(refusal("a*"), HasSubstr("empty text"));
  EXPECT_THAT(refusal("(a"), HasSubstr("bad pattern"));
  EXPECT_THAT(refusal("[a"), HasSubstr("a class without ']'"));
  EXPECT_THAT(refusal("a\\"), HasSubstr("a backslash at its end"));
  EXPECT_THAT(refusal("\\p{L"), HasSubstr("\\p without {name}"));
  EXPECT_THAT(refusal("a\xFF"), HasSubstr("invalid UTF-8 at byte 1"));
}

TEST(SplitPattern, RefusesClassesThatTakeLongToCompile) {
  const auto repeated = [](std::string_view part, int count) {
    std::string pattern = "[";
    for (int i = 0; i < count; ++i) pattern += part;
    return pattern + "]";
  };
  EXPECT_EQ(refusal(repeated("\\p{L}", 20)), "accepted");
  EXPECT_THAT(refusal(repeated("\\p{L}", 4000)), HasSubstr("more than 100000 ranges in all"));
}

TEST(SplitPattern, GivesUpAtTheFirstOfManyPathologicalMatches) {
  // Each place of the short text would cost millions of steps, and the match goes on at the next one.
  const SplitPattern pattern("(?:(?=[^k]*(k+k+)+[bc])[a-z]|[a-z])|x", "p");
  const std::string text = std::string(50, 'a') + std::string(19, 'k') + "x";
  EXPECT_THROW(pattern.isolate({text}), Error);
}

TEST(SplitPattern, GivesUpOnPathologicalMatching) {
  const SplitPattern pattern("(a+a+)+[bc]", "p");
  const std::string text(40, 'a');
  EXPECT_THROW(pattern.isolate({text}), Error);
}

TEST(SplitPattern, CutsALongRunOfWhiteSpace) {
  const std::string text = std::string(1'000'000, ' ') + "x";
  EXPECT_EQ(cut("\\s+$", text).size(), 1u);
  EXPECT_EQ(cut("\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+", text).size(), 3u);
}

}  // namespace
}  // namespace meshseek

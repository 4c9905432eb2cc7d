#include "generate/text_stream.hpp"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "base/error.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Pieces that a filter shows, the last one by finish().
std::vector<std::string> filtered(std::vector<std::string> stops, const std::vector<std::string>& pieces) {
  StopFilter filter(std::move(stops));
  std::vector<std::string> shown;
  for (const std::string& piece : pieces) shown.push_back(filter.push(piece));
  shown.push_back(filter.finish());
  return shown;
}

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

using Pieces = std::vector<std::string>;

TEST(StopFilter, LetsTextThroughAtOnceWithoutStopStrings) { EXPECT_EQ(filtered({}, {"a", "bc"}), (Pieces{"a", "bc", ""})); }

TEST(StopFilter, CutsBeforeAStopStringThatIsSpreadOverPieces) {
  EXPECT_EQ(filtered({"\nUser:"}, {"Hi.", "\n", "Us", "er", ": more"}), (Pieces{"Hi.", "", "", "", "", ""}));
}

TEST(StopFilter, ShowsWhatWasHeldBackOnceItCannotBeAStopString) {
  EXPECT_EQ(filtered({"\nUser:"}, {"Hi.\n", "Use", "ful"}), (Pieces{"Hi.", "", "\nUseful", ""}));
}

TEST(StopFilter, ShowsAHeldBackTailAtTheEnd) { EXPECT_EQ(filtered({"###"}, {"a##"}), (Pieces{"a", "##"})); }

TEST(StopFilter, FindsAStopStringAfterAFalseStart) {
  EXPECT_EQ(joined(filtered({"aab"}, {"xa", "a", "a", "b", "c"})), "xa");
  EXPECT_EQ(joined(filtered({"abab"}, {"ab", "ac", "abab"})), "abac");
}

TEST(StopFilter, TakesTheFirstOfSeveralStopStrings) {
  EXPECT_EQ(joined(filtered({"zz", "y"}, {"a y b zz"})), "a ");
  EXPECT_EQ(joined(filtered({"long stop", "o"}, {"a l", "ong stop"})), "a ");
  EXPECT_EQ(joined(filtered({"long stop", "o"}, {"a l", "o"})), "a l");
}

TEST(StopFilter, SwallowsEverythingAfterTheStop) {
  StopFilter filter({"."});
  EXPECT_EQ(filter.push("a.b"), "a");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.push("c"), "");
  EXPECT_EQ(filter.finish(), "");
}

TEST(StopFilter, AnyCuttingOfTheTextGivesTheSameResult) {
  const std::string text = "to be, or not to bee, or not";
  for (const std::string& stop : {std::string("bee"), std::string("or not t"), std::string("o"), std::string("zebra")}) {
    const std::string expected = text.substr(0, text.find(stop));
    for (std::size_t first = 0; first <= text.size(); ++first) {
      for (std::size_t second = first; second <= text.size(); ++second) {
        const Pieces pieces = {text.substr(0, first), text.substr(first, second - first), text.substr(second)};
        ASSERT_EQ(joined(filtered({stop}, pieces)), expected) << stop << " " << first << " " << second;
      }
    }
  }
}

TEST(StopFilter, RefusesAnEmptyStopString) {
  EXPECT_THAT([] { StopFilter filter({"a", ""}); }, ThrowsMessage<Error>(HasSubstr("stop string is empty")));
}

class TextStreamTest : public ::testing::Test {
 protected:
  static Path folder() { return Path(MESHSEEK_SOURCE_DIR) / "models" / "tiny-shakespeare"; }
  Tokenizer tokenizer_ = Tokenizer::from_folder(folder());

  std::vector<std::string> pieces(const std::vector<std::int64_t>& ids) {
    TextStream stream(&tokenizer_, {});
    std::vector<std::string> shown;
    for (const std::int64_t id : ids) shown.push_back(stream.push(id));
    shown.push_back(stream.finish());
    return shown;
  }
};

TEST_F(TextStreamTest, GivesTheTextOfAContinuationWithoutSpecialTokens) {
  // models/tiny-shakespeare/golden.json, prompt "love": 16 is a full stop, 1 the end token; 4089 is <|Assistant|>.
  EXPECT_EQ(joined(pieces({43, 470, 330, 375, 14, 547, 16, 1})), "I am not so, sir.");
  EXPECT_EQ(joined(pieces({33, 4089, 43})), "?I");
}

TEST_F(TextStreamTest, ShowsAddedTokensThatAreNotSpecial) { EXPECT_EQ(joined(pieces({4090, 4091})), "<think></think>"); }

TEST_F(TextStreamTest, HasNoTextForIdsThatPadTheVocabulary) { EXPECT_EQ(joined(pieces({43, 4095})), "I"); }

TEST_F(TextStreamTest, NeverCutsACharacter) {
  const std::string text = "h\u00e9 \u4f60\u597d \U0001F600!";
  const std::vector<std::int64_t> ids = tokenizer_.encode(text, false);
  const std::vector<std::string> shown = pieces(ids);
  EXPECT_GT(ids.size(), 8U) << "some characters must be spread over tokens";
  EXPECT_EQ(joined(shown), text);
  for (const std::string& piece : shown) EXPECT_FALSE(find_invalid_utf8(piece).has_value());
}

TEST(TextStream, HasNoTextWithoutATokenizer) {
  TextStream stream(nullptr, {});
  EXPECT_EQ(stream.push(5) + stream.finish(), "");
}

}  // namespace
}  // namespace meshseek

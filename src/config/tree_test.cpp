#include "config/tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "config/names.hpp"

namespace meshseek {
namespace {
using ::testing::StrEq;
using ::testing::ThrowsMessage;

TEST(Tree, TypedAccessNamesExpectedAndGiven) {
  EXPECT_THAT([] { Tree("x").as_integer("a.b"); }, ThrowsMessage<ConfigError>(StrEq("[a.b] expected an integer, got a string (\"x\")")));
  EXPECT_THAT([] { Tree(2.5).as_integer("a"); }, ThrowsMessage<ConfigError>(StrEq("[a] expected an integer, got a number (2.5)")));
  EXPECT_THAT([] { Tree(1).as_bool("a"); }, ThrowsMessage<ConfigError>(StrEq("[a] expected true or false, got an integer (1)")));
  EXPECT_THAT([] { Tree().as_object("a"); }, ThrowsMessage<ConfigError>(StrEq("[a] expected an object, got null")));
  EXPECT_THAT([] { Tree(true).as_number("a"); }, ThrowsMessage<ConfigError>(StrEq("[a] expected a number, got a boolean (true)")));
  EXPECT_THAT([] { Tree(Tree::Object{}).as_array("a"); }, ThrowsMessage<ConfigError>(StrEq("[a] expected an array, got an object")));
  const Tree two(Tree::Array{1, 2});
  EXPECT_THAT([&] { two.as_string("a"); }, ThrowsMessage<ConfigError>(StrEq("[a] expected a string, got an array of 2")));
}

TEST(Tree, IntegersAreNumbersButNumbersAreNotIntegers) {
  EXPECT_EQ(Tree(3).as_number("a"), 3.0);
  EXPECT_TRUE(Tree(3).is_number());
  EXPECT_FALSE(Tree(3.0).is_integer());
  EXPECT_NE(Tree(3), Tree(3.0));
}

TEST(Tree, SetReplacesOrAppends) {
  Tree tree;
  tree.set("b", 1);
  tree.set("a", 2);
  tree.set("b", "x");
  EXPECT_EQ(to_json_line(tree), R"({"b":"x","a":2})");
  EXPECT_EQ(tree.find("c"), nullptr);
  EXPECT_EQ(Tree(1).find("c"), nullptr);
  EXPECT_THROW(Tree(1).set("c", 2), ConfigError);
}

TEST(Names, EditDistanceCountsSwapsAsOne) {
  EXPECT_EQ(edit_distance("dtpye", "dtype"), 1u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("same", "same"), 0u);
}

TEST(Names, HintNamesTheNearestAndListsAll) {
  const std::string_view known[] = {"bias", "dtype", "transpose_b"};
  EXPECT_EQ(known_names_hint("out_dtpye", known), "; did you mean \"dtype\"? known: bias, dtype, transpose_b");
  EXPECT_EQ(known_names_hint("zzz", known), "; known: bias, dtype, transpose_b");
  EXPECT_EQ(known_names_hint("zzz", {}), "; nothing is known here");
}

TEST(Tree, AFlagThatIsAbsentIsFalse) {
  const Tree tree = parse_json(R"({"yes": true, "no": false, "word": "true"})", "text");
  EXPECT_TRUE(tree.flag("yes", "text"));
  EXPECT_FALSE(tree.flag("no", "text"));
  EXPECT_FALSE(tree.flag("absent", "text"));
  EXPECT_THROW(tree.flag("word", "text"), ConfigError);
}

}  // namespace
}  // namespace meshseek

#include "hf/tokenizer.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"
#include "config/tree.hpp"
#include "hf/tokenizer_bpe.hpp"
#include "hf/unicode.hpp"

namespace meshseek {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Path kTests = Path(MESHSEEK_SOURCE_DIR) / "tests/data/tokenizers";

Tree parse(std::string_view text) { return parse_json(text, "test"); }

/// A tokenizer.json with all bytes, four merges and two added tokens; tests break one thing each.
Tree small_json() {
  Tree::Object vocab;
  for (int byte = 0; byte < 256; ++byte) {
    std::string letter;
    append_utf8(letter, byte_to_alphabet(static_cast<std::uint8_t>(byte)));
    vocab.emplace_back(letter, Tree(byte));
  }
  int id = 256;
  for (const char* token : {"ab", "abc", "aa", "aaaa"}) vocab.emplace_back(token, Tree(id++));
  Tree root = parse(R"({"added_tokens": [{"id": 260, "content": "<x>", "special": true}, {"id": 261, "content": "<x>y", "special": false}],
    "normalizer": null, "decoder": {"type": "ByteLevel"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": " "}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
    "model": {"type": "BPE", "merges": [["a", "b"], "ab c", ["a", "a"], "aa aa"]}})");
  root.find("model")->set("vocab", Tree(std::move(vocab)));
  return root;
}

Tokenizer small() { return Tokenizer::from_json(to_json(small_json()), "small"); }

Tree& vocab_of(Tree& root) { return *root.find("model")->find("vocab"); }

std::vector<std::int64_t> ids_of(const Tree& list) {
  std::vector<std::int64_t> out;
  for (const Tree& id : list.as_array("ids")) out.push_back(id.as_integer("ids"));
  return out;
}

TEST(Tokenizer, MergesTheLowestRankFirstAndTheLeftmostOfEquals) {
  const Tokenizer tokenizer = small();
  EXPECT_THAT(tokenizer.encode("abc", false), ElementsAre(257));
  EXPECT_THAT(tokenizer.encode("aab", false), ElementsAre('a', 256));
  EXPECT_THAT(tokenizer.encode("aaa", false), ElementsAre(258, 'a'));
  EXPECT_THAT(tokenizer.encode("aaaaa", false), ElementsAre(259, 'a'));
  EXPECT_THAT(tokenizer.encode("ab c", false), ElementsAre(256, ' ', 'c'));
  EXPECT_THAT(tokenizer.encode("", false), IsEmpty());
}

TEST(Tokenizer, FindsTheLongestAddedTokenAtTheLeftmostPlace) {
  const Tokenizer tokenizer = small();
  EXPECT_THAT(tokenizer.encode("<x>y<x>", true), ElementsAre(261, 260));
  EXPECT_THAT(tokenizer.encode("<<x>>", true), ElementsAre('<', 260, '>'));
  EXPECT_THAT(tokenizer.encode("a<x>b", true), ElementsAre('a', 260, 'b'));
  EXPECT_THAT(tokenizer.encode("<x>", false), ElementsAre('<', 'x', '>'));
  EXPECT_EQ(tokenizer.decode(std::vector<std::int64_t>{260, 257, 261}), "<x>abc<x>y");
  EXPECT_EQ(tokenizer.vocab_size(), 262);
  EXPECT_EQ(tokenizer.added_token_id("<x>y"), 261);
  EXPECT_EQ(tokenizer.added_token_id("abc"), std::nullopt);
}

TEST(Tokenizer, RejectsInvalidUtf8WithItsPosition) {
  const Tokenizer tokenizer = small();
  try {
    tokenizer.encode("abc\xFFz", true);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("byte 3"));
  }
}

TEST(Tokenizer, RefusesIdsThatAreNoTokens) {
  const Tokenizer tokenizer = small();
  EXPECT_THROW(tokenizer.decode(std::vector<std::int64_t>{262}), Error);
  EXPECT_THROW(tokenizer.decode(std::vector<std::int64_t>{-1}), Error);
}

TEST(Tokenizer, EncodesAMegabyteOfOneLetter) { EXPECT_EQ(small().encode(std::string(1'000'000, 'a'), true).size(), 250'000u); }

TEST(Tokenizer, RefusesAFolderWithoutTokenizer) { EXPECT_THROW(Tokenizer::from_folder(kTests / "no-such-folder"), Error); }

TEST(Tokenizer, RefusesToDropAByteThatHasNoToken) {
  Tree root = small_json();
  Tree::Object& vocab = vocab_of(root).object();
  std::erase_if(vocab, [](const Tree::Member& member) { return member.first == "z"; });
  const Tokenizer tokenizer = Tokenizer::from_json(to_json(root), "small");
  EXPECT_THAT(tokenizer.encode("y", false), ElementsAre('y'));
  EXPECT_THROW(tokenizer.encode("z", false), Error);
  EXPECT_THROW(tokenizer.token_bytes('z'), Error);
}

TEST(Tokenizer, FollowsTheSixStepsOfDeepSeekV2) {
  const Tokenizer tokenizer = Tokenizer::from_folder(kTests / "v2-style");
  std::ifstream file(kTests / "v2-style/lines.jsonl");
  std::size_t count = 0;
  for (std::string text; std::getline(file, text); ++count) {
    const Tree line = parse_json(text, fmt::format("line {}", count + 1));
    SCOPED_TRACE(text);
    const std::string& input = line.find("text")->as_string("text");
    const auto ids = tokenizer.encode(input, true);
    EXPECT_EQ(ids, ids_of(*line.find("ids")));
    EXPECT_EQ(tokenizer.encode(input, false), ids_of(*line.find(line.find("plain") == nullptr ? "ids" : "plain")));
    EXPECT_EQ(tokenizer.decode(ids), input);
  }
  EXPECT_EQ(count, 55u);
}

}  // namespace
}  // namespace meshseek

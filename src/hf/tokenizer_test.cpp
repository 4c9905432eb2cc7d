#include "hf/tokenizer.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <functional>

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

std::string refusal(const std::string& text) {
  try {
    Tokenizer::from_json(text, "file.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal(const std::function<void(Tree&)>& change) {
  Tree root = small_json();
  change(root);
  return refusal(to_json(root));
}

Tree& first_step(Tree& root) { return root.find("pre_tokenizer")->find("pretokenizers")->array()[0]; }
Tree& vocab_of(Tree& root) { return *root.find("model")->find("vocab"); }
Tree::Array& merges_of(Tree& root) { return root.find("model")->find("merges")->array(); }
Tree& added_of(Tree& root, std::size_t index) { return root.find("added_tokens")->array()[index]; }

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

TEST(Tokenizer, EncodesAMegabyteOfOneLetterInAboutASecond) {
  const Tokenizer tokenizer = small();
  const std::string text(1'000'000, 'a');
  const auto start = std::chrono::steady_clock::now();
  const auto ids = tokenizer.encode(text, true);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(ids.size(), 250'000u);
  EXPECT_LT(elapsed.count(), 3.0);
}

TEST(Tokenizer, RefusesUnsupportedPreTokenizersByName) {
  EXPECT_THAT(refusal([](Tree& t) { first_step(t) = parse(R"({"type": "Metaspace", "replacement": "_"})"); }), HasSubstr("'Metaspace'"));
  EXPECT_THAT(refusal([](Tree& t) { *t.find("pre_tokenizer") = parse(R"({"type": "Metaspace"})"); }), HasSubstr("'Metaspace'"));
  EXPECT_THAT(refusal([](Tree& t) { first_step(t).set("behavior", "Removed"); }), HasSubstr("behavior Isolated"));
  EXPECT_THAT(refusal([](Tree& t) { first_step(t).set("invert", true); }), HasSubstr("invert false"));
  EXPECT_THAT(refusal([](Tree& t) { first_step(t).set("pattern", parse(R"({"String": " "})")); }), HasSubstr("kind Regex"));
  EXPECT_THAT(refusal([](Tree& t) { first_step(t) = parse(R"({"type": "Digits", "individual_digits": false})"); }),
              HasSubstr("individual_digits true"));
  EXPECT_THAT(refusal([](Tree& t) { t.find("pre_tokenizer")->find("pretokenizers")->array().pop_back(); }),
              HasSubstr("ByteLevel as the last step"));
  EXPECT_THAT(refusal([](Tree& t) { t.set("pre_tokenizer", Tree()); }), HasSubstr("no pre-tokenizer"));
}

TEST(Tokenizer, RefusesUnsupportedModelsNormalizersAndDecodersByName) {
  EXPECT_THAT(refusal([](Tree& t) { t.find("model")->set("type", "Unigram"); }), HasSubstr("'Unigram'"));
  EXPECT_THAT(refusal([](Tree& t) { t.find("model")->set("byte_fallback", true); }), HasSubstr("'byte_fallback'"));
  EXPECT_THAT(refusal([](Tree& t) { t.find("model")->set("dropout", 0.5); }), HasSubstr("'dropout'"));
  EXPECT_THAT(refusal([](Tree& t) { t.set("normalizer", parse(R"({"type": "NFC"})")); }), HasSubstr("'NFC'"));
  EXPECT_THAT(refusal([](Tree& t) { t.set("decoder", parse(R"({"type": "Fuse"})")); }), HasSubstr("'Fuse'"));
}

TEST(Tokenizer, RefusesAMalformedVocabulary) {
  EXPECT_THAT(refusal([](Tree& t) { vocab_of(t).set("zz", 256); }), HasSubstr("id 256 is given twice"));
  EXPECT_THAT(refusal([](Tree& t) { vocab_of(t).set("zz", -1); }), HasSubstr("id -1"));
  EXPECT_THAT(refusal([](Tree& t) { vocab_of(t).set("zz", std::int64_t{1} << 40); }), HasSubstr("id 1099511627776"));
  EXPECT_THAT(refusal([](Tree& t) { vocab_of(t).set("zz", "1"); }), HasSubstr("integer"));
  EXPECT_THAT(refusal([](Tree& t) { vocab_of(t).set("", 300); }), HasSubstr("empty"));
}

TEST(Tokenizer, RefusesMalformedMerges) {
  EXPECT_THAT(refusal([](Tree& t) { merges_of(t).emplace_back("q r"); }), HasSubstr("'qr' is not in the vocabulary"));
  EXPECT_THAT(refusal([](Tree& t) { merges_of(t).emplace_back("qq r"); }), HasSubstr("'qq' is not in the vocabulary"));
  EXPECT_THAT(refusal([](Tree& t) { merges_of(t).emplace_back("a b"); }), HasSubstr("given twice"));
  EXPECT_THAT(refusal([](Tree& t) { merges_of(t).emplace_back("ab"); }), HasSubstr("one space"));
  EXPECT_THAT(refusal([](Tree& t) { merges_of(t).emplace_back(parse(R"(["a", "b", "c"])")); }), HasSubstr("3 parts"));
  EXPECT_THAT(refusal([](Tree& t) { merges_of(t).emplace_back(7); }), HasSubstr("string"));
}

TEST(Tokenizer, RefusesAddedTokensItCannotHonour) {
  EXPECT_THAT(refusal([](Tree& t) { added_of(t, 0).set("lstrip", true); }), HasSubstr("lstrip is true"));
  EXPECT_THAT(refusal([](Tree& t) { added_of(t, 0).set("rstrip", true); }), HasSubstr("rstrip is true"));
  EXPECT_THAT(refusal([](Tree& t) { added_of(t, 0).set("single_word", true); }), HasSubstr("single_word is true"));
  EXPECT_THAT(refusal([](Tree& t) { added_of(t, 0).set("content", ""); }), HasSubstr("empty"));
  EXPECT_THAT(refusal([](Tree& t) { added_of(t, 0).set("id", 261); }), HasSubstr("given twice"));
  EXPECT_THAT(refusal([](Tree& t) { added_of(t, 0).set("id", 65); }), HasSubstr("given twice"));
  EXPECT_THAT(refusal([](Tree& t) { added_of(t, 0).set("content", "abc"); }), HasSubstr("257 in the vocabulary"));
}

TEST(Tokenizer, RefusesTextThatIsNoTokenizerJson) {
  EXPECT_THAT(refusal("not json"), HasSubstr("file.json"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("array"));
  EXPECT_THAT(refusal("{}"), HasSubstr("no pre-tokenizer"));
  EXPECT_THROW(Tokenizer::from_folder(kTests / "no-such-folder"), Error);
}

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

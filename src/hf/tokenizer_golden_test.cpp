// Golden ids, written with the `tokenizers` library (tests/data/tokenizers/goldens).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/sha256.hpp"
#include "config/tree.hpp"
#include "hf/tokenizer.hpp"

namespace meshseek {
namespace {

const Path kTests = Path(MESHSEEK_SOURCE_DIR) / "tests/data/tokenizers";

std::vector<std::int64_t> ids_of(const Tree& line, std::string_view key) {
  std::vector<std::int64_t> out;
  for (const Tree& id : line.find(key)->as_array(key)) out.push_back(id.as_integer(key));
  return out;
}

std::string recipe_text(const Tree& line) {
  const std::string& repeat = line.find("repeat")->as_string("repeat");
  std::string out;
  for (std::int64_t i = 0; i < line.find("n")->as_integer("n"); ++i) out += repeat;
  return out;
}

std::string hash_of_ids(const std::vector<std::int64_t>& ids) { return sha256_hex(fmt::format("{}", fmt::join(ids, ","))); }

/// Checks one line; returns its text.
void check_line(const Tokenizer& tokenizer, const Tree& line, std::size_t number) {
  SCOPED_TRACE(fmt::format("line {}", number));
  const bool recipe = line.find("repeat") != nullptr;
  const std::string text = recipe ? recipe_text(line) : line.find("text")->as_string("text");
  const auto ids = tokenizer.encode(text, true);
  const auto plain = tokenizer.encode(text, false);
  if (recipe) {
    EXPECT_EQ(static_cast<std::int64_t>(ids.size()), line.find("num_ids")->as_integer("num_ids"));
    EXPECT_EQ(hash_of_ids(ids), line.find("sha256_ids")->as_string("sha256_ids"));
    EXPECT_EQ(static_cast<std::int64_t>(plain.size()), line.find("num_ids_no_special")->as_integer("num_ids_no_special"));
    EXPECT_EQ(hash_of_ids(plain), line.find("sha256_ids_no_special")->as_string("sha256"));
  } else {
    EXPECT_EQ(ids, ids_of(line, "ids"));
    EXPECT_EQ(plain, ids_of(line, "ids_no_special"));
  }
  EXPECT_TRUE(tokenizer.decode(ids) == text);
  EXPECT_TRUE(tokenizer.decode(plain) == text);
}

std::size_t check_file(const Tokenizer& tokenizer, const Path& path) {
  std::ifstream file(path);
  std::size_t count = 0;
  for (std::string text; std::getline(file, text); ++count) {
    check_line(tokenizer, parse_json(text, path.string()), count + 1);
    if (testing::Test::HasFailure()) break;
  }
  return count;
}

TEST(TokenizerGolden, EqualsTheReferenceOnAll3200LinesOfDeepSeekV3) {
  const Tokenizer tokenizer = Tokenizer::from_folder(kTests / "deepseek-v3");
  EXPECT_EQ(check_file(tokenizer, kTests / "goldens/tokenizer-v3.jsonl"), 3200u);
}

TEST(TokenizerGolden, EqualsTheReferenceOnAll800LinesOfTheSmallModel) {
  const Tokenizer tokenizer = Tokenizer::from_folder(Path(MESHSEEK_SOURCE_DIR) / "models/tiny-shakespeare");
  EXPECT_EQ(tokenizer.vocab_size(), 4092);
  EXPECT_EQ(check_file(tokenizer, kTests / "goldens/tokenizer-small.jsonl"), 800u);
}

TEST(TokenizerGolden, KnowsTheSizeAndTheAddedTokensOfDeepSeekV3) {
  const Tokenizer tokenizer = Tokenizer::from_folder(kTests / "deepseek-v3");
  EXPECT_EQ(tokenizer.vocab_size(), 128815);
  EXPECT_EQ(tokenizer.added_tokens().size(), 818u);
  EXPECT_EQ(tokenizer.added_token_id("<｜begin▁of▁sentence｜>"), 0);
  EXPECT_EQ(tokenizer.added_token_id("<｜Assistant｜>"), 128804);
  EXPECT_EQ(tokenizer.added_token_id("<|EOT|>"), 128805);
  EXPECT_EQ(tokenizer.added_token_id("<think>"), std::nullopt);
  EXPECT_EQ(tokenizer.token_bytes(128803), "<｜User｜>");
  EXPECT_THROW(tokenizer.token_bytes(128815), std::exception);
}

TEST(TokenizerGolden, HashesLikeTheStandardsExample) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace meshseek

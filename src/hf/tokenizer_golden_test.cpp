// Golden ids, written with the `tokenizers` library (tests/data/tokenizers/goldens).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <chrono>
#include <fstream>
#include <string>

#include "config/tree.hpp"
#include "hf/tokenizer.hpp"

namespace meshseek {
namespace {

const Path kTests = Path(MESHSEEK_SOURCE_DIR) / "tests/data/tokenizers";

constexpr std::array<std::uint32_t, 64> kSha256Rounds = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

using Sha256State = std::array<std::uint32_t, 8>;

void sha256_block(Sha256State& state, const unsigned char* block) {
  std::array<std::uint32_t, 64> w = {};
  for (std::size_t i = 0; i < 16; ++i) {
    w[i] =
        std::uint32_t{block[4 * i]} << 24 | std::uint32_t{block[4 * i + 1]} << 16 | std::uint32_t{block[4 * i + 2]} << 8 | block[4 * i + 3];
  }
  for (std::size_t i = 16; i < 64; ++i) {
    const std::uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
    const std::uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  Sha256State v = state;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t s1 = std::rotr(v[4], 6) ^ std::rotr(v[4], 11) ^ std::rotr(v[4], 25);
    const std::uint32_t first = v[7] + s1 + ((v[4] & v[5]) ^ (~v[4] & v[6])) + kSha256Rounds[i] + w[i];
    const std::uint32_t s0 = std::rotr(v[0], 2) ^ std::rotr(v[0], 13) ^ std::rotr(v[0], 22);
    const std::uint32_t second = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    v = {first + second, v[0], v[1], v[2], v[3] + first, v[4], v[5], v[6]};
  }
  for (std::size_t i = 0; i < 8; ++i) state[i] += v[i];
}

std::string sha256_hex(std::string text) {
  const std::uint64_t bits = std::uint64_t{text.size()} * 8;
  text += '\x80';
  while (text.size() % 64 != 56) text += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) text += static_cast<char>(bits >> shift);
  Sha256State state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  for (std::size_t at = 0; at < text.size(); at += 64) sha256_block(state, reinterpret_cast<const unsigned char*>(text.data()) + at);
  std::string out;
  for (const std::uint32_t word : state) out += fmt::format("{:08x}", word);
  return out;
}

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

TEST(TokenizerGolden, LoadsDeepSeekV3InLessThanOneAndAHalfSeconds) {
  const auto start = std::chrono::steady_clock::now();
  const Tokenizer tokenizer = Tokenizer::from_folder(kTests / "deepseek-v3");
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_LT(elapsed.count(), 1.5);
  EXPECT_GT(tokenizer.vocab_size(), 0);
}

TEST(TokenizerGolden, HashesLikeTheStandardsExample) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace meshseek

// That the tokenizer's time grows as the text does, and that loading one costs about what parsing its JSON costs. Runs alone: it compares times.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "base/file.hpp"
#include "config/tree.hpp"
#include "hf/tokenizer.hpp"
#include "hf/tokenizer_pattern.hpp"
#include "tests/support/best_time.hpp"

namespace meshseek {
namespace {

using testing::best_time;

const Path kTokenizers = Path(MESHSEEK_SOURCE_DIR) / "tests/data/tokenizers";

/// How much longer `call(n)` takes for a text of 16 times the length; 16 when the time is linear, 256 when it is quadratic.
double growth(const auto& call) {
  constexpr std::size_t kShort = 1 << 15;
  const double brief = best_time(9, [&] { call(kShort); });
  const double lengthy = best_time(3, [&] { call(16 * kShort); });
  std::printf("%zu characters %.2f ms, 16 times as many %.2f ms: x %.1f\n", kShort, brief * 1e3, lengthy * 1e3, lengthy / brief);
  return lengthy / brief;
}

TEST(TokenizerTime, SplittingALongRunOfWhiteSpaceIsNearLinear) {
  for (const char* regex : {"\\s+$", "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}) {
    const SplitPattern pattern(regex, regex);
    EXPECT_LT(growth([&](std::size_t size) {
                const std::string text = std::string(size, ' ') + "x";
                EXPECT_FALSE(pattern.isolate({text}).empty());
              }),
              64.0)
        << regex;
  }
}

TEST(TokenizerTime, EncodingOneWordOfOneLetterIsNearLinear) {
  const Tokenizer tokenizer = Tokenizer::from_folder(kTokenizers / "deepseek-v3");
  EXPECT_LT(growth([&](std::size_t size) { EXPECT_FALSE(tokenizer.encode(std::string(size, 'a'), true).empty()); }), 64.0);
}

TEST(TokenizerTime, LoadingCostsAFewTimesTheParsingOfTheJson) {
  const Path folder = kTokenizers / "deepseek-v3";
  const std::string text = read_text_file(folder / "tokenizer.json");
  const double parse_s = best_time(3, [&] { parse_json(text, "tokenizer.json"); });
  const double load_s = best_time(3, [&] { Tokenizer::from_folder(folder); });
  std::printf("parsing %.0f ms, loading %.0f ms: x %.2f\n", parse_s * 1e3, load_s * 1e3, load_s / parse_s);
  EXPECT_LT(load_s, 4.0 * parse_s);
}

}  // namespace
}  // namespace meshseek

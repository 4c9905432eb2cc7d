// `meshseek logits` and `meshseek score`: the tensors they promise, and their numbers against goldens.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/cli/program.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek::cli_test {
namespace {

using meshseek::testing::Arrays;

constexpr const char* kIds = "83,27,35,244,85,9,85";  // ids_7 of every checkpoint's golden of this vocabulary

double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = a.empty() ? 1e9 : 0.0;
  for (std::size_t idx = 0; idx < std::min(a.size(), b.size()); ++idx) {
    difference = std::max(difference, std::abs(static_cast<double>(a[idx]) - static_cast<double>(b[idx])));
  }
  return difference;
}

class Logits : public ProgramTest {
 protected:
  /// Runs the verb on v3-tiny in float32.
  Arrays arrays(const Arguments& flags) {
    const std::string file = (folder() / ("out" + std::to_string(num_files_++) + ".safetensors")).string();
    Arguments arguments = {"logits", checkpoint("v3-tiny").string(), "--dtype", "float32", "-o", file};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return Arrays(file);
  }
  Arrays golden_ = Arrays(checkpoint("v3-tiny") / "golden.safetensors");

 private:
  int num_files_ = 0;
};

TEST_F(Logits, WritesThePromisedTensors) {
  const Arrays out = arrays({"--ids", kIds, "--hidden", "--cache", "--router", "--mtp"});
  EXPECT_EQ(out.shape("logits"), (Shape{7, 256}));
  EXPECT_EQ(out.shape("mtp_logits"), (Shape{6, 256}));
  for (const char* name : {"hidden.0", "hidden.1", "hidden.2", "hidden.3"}) EXPECT_EQ(out.shape(name), (Shape{7, 144})) << name;
  for (const char* name : {"cache.0", "cache.1", "cache.2"}) EXPECT_EQ(out.shape(name), (Shape{7, 144})) << name;
  for (const char* name : {"router.1.indices", "router.1.weights", "router.2.indices"}) EXPECT_EQ(out.shape(name), (Shape{7, 4})) << name;
  for (const char* name : {"hidden.4", "cache.3", "router.0.indices", "router.3.indices"}) EXPECT_FALSE(out.contains(name)) << name;
}

TEST_F(Logits, WritesOnlyLogitsUnlessAskedForMore) {
  const Arrays out = arrays({"--ids", kIds});
  for (const char* name : {"hidden.0", "cache.0", "router.1.indices", "mtp_logits"}) EXPECT_FALSE(out.contains(name)) << name;
}

TEST_F(Logits, EqualsTheGoldenHoweverTheIdsAreCut) {
  for (const std::string via : {"prefill", "decode", "chunks:3", "chunks:100"}) {
    const Arrays out = arrays({"--ids", kIds, "--hidden", "--cache", "--mtp", "--via", via});
    EXPECT_LT(max_difference(out.floats("logits"), golden_.floats("logits_7")), 5e-4) << via;
    EXPECT_LT(max_difference(out.floats("mtp_logits"), golden_.floats("mtp_post_norm_logits_7")), 5e-4) << via;
    const std::vector<float> hidden = golden_.floats("hidden_7");
    const std::vector<float> last(hidden.end() - std::ptrdiff_t{7} * 144, hidden.end());
    EXPECT_LT(max_difference(out.floats("hidden.3"), last), 1e-3) << via;
    const std::vector<float> latents = golden_.floats("cache_c_kv_7");
    const std::vector<float> cache = out.floats("cache.0");
    for (std::size_t token = 0; token < 7; ++token) {
      const auto latent = latents.begin() + static_cast<std::ptrdiff_t>(token * 128);
      const auto row = cache.begin() + static_cast<std::ptrdiff_t>(token * 144);
      EXPECT_LT(max_difference({row, row + 128}, {latent, latent + 128}), 1e-3) << via << " token " << token;
    }
  }
}

TEST_F(Logits, RouterIndicesAreThoseOfTheGolden) {
  const Arrays out = arrays({"--ids", kIds, "--router", "--via", "chunks:2"});
  std::vector<std::int64_t> both = out.integers("router.1.indices");
  const std::vector<std::int64_t> second = out.integers("router.2.indices");
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(both, golden_.integers("router_indices_7"));
}

TEST_F(Logits, TheLastPositionIsTheLastRow) {
  for (const std::string via : {"prefill", "decode", "chunks:3"}) {
    const Arrays last = arrays({"--ids", kIds, "--positions", "last", "--via", via});
    EXPECT_EQ(last.shape("logits"), (Shape{1, 256}));
    EXPECT_LT(max_difference(last.floats("logits"), golden_.floats("logits_7_last")), 5e-4) << via;
  }
}

TEST_F(Logits, ReadsIdsFromAFile) {
  const std::string file = write("ids", "[83, 27, 35,\n244, 85 9 85]\n").string();
  EXPECT_EQ(arrays({"--ids-file", file}).floats("logits"), arrays({"--ids", kIds}).floats("logits"));
}

TEST_F(Logits, MtpNeedsAModelThatHasIt) {
  const std::string file = (folder() / "out.safetensors").string();
  expect_failure(run({"logits", checkpoint("v2lite-tiny").string(), "--ids", "5,6", "--mtp", "-o", file}), "no MTP module");
  expect_failure(run({"logits", checkpoint("v3-tiny").string(), "--ids", "5", "--mtp", "-o", file}), "at least two ids");
}

class Score : public ProgramTest {};

TEST_F(Score, PerplexityFollowsFromTheLogits) {
  const fs::path store = convert(tiny_shakespeare());
  const std::string text =
      "If music be the food of love, play on;\nGive me excess of it, that, surfeiting,\nThe appetite may sicken, and so die.\n";
  const std::string ids = run({"tokenize", store.string(), "--no-special"}, text).out;
  const std::string file = (folder() / "out.safetensors").string();
  ASSERT_EQ(run({"logits", store.string(), "--ids", ids, "-o", file}).exit_code, 0);
  const Arrays out(file);
  const std::vector<float> logits = out.floats("logits");
  const auto vocab_size = static_cast<std::size_t>(out.shape("logits")[1]);
  std::vector<std::size_t> tokens;
  for (std::size_t begin = 0; begin < ids.size(); begin = ids.find(',', begin) + 1) {
    tokens.push_back(std::stoul(ids.substr(begin)));
    if (ids.find(',', begin) == std::string::npos) break;
  }
  ASSERT_EQ(logits.size(), tokens.size() * vocab_size);
  double nll = 0.0;
  for (std::size_t row = 0; row + 1 < tokens.size(); ++row) {
    double sum = 0.0;
    for (std::size_t id = 0; id < vocab_size; ++id) sum += std::exp(static_cast<double>(logits[row * vocab_size + id]));
    nll += std::log(sum) - static_cast<double>(logits[row * vocab_size + tokens[row + 1]]);
  }
  const Tree score = run({"score", store.string(), "--text", write("text", text).string(), "--json"}).json();
  EXPECT_EQ(score.find("tokens")->as_integer("tokens"), static_cast<std::int64_t>(tokens.size()));
  EXPECT_EQ(score.find("scored")->as_integer("scored"), static_cast<std::int64_t>(tokens.size()) - 1);
  EXPECT_NEAR(score.find("mean_nll")->as_number("mean_nll"), nll / static_cast<double>(tokens.size() - 1), 1e-5);
  EXPECT_NEAR(score.find("perplexity")->as_number("perplexity"), std::exp(nll / static_cast<double>(tokens.size() - 1)), 1e-3);
}

TEST_F(Score, AModelAgreesWithItself) {
  const fs::path store = convert(tiny_shakespeare());
  const std::string text = (tiny_shakespeare() / "heldout.txt").string();
  const Tree score =
      run({"score", store.string(), "--text", text, "--max-tokens", "100", "--ctx", "32", "--reference", store.string(), "--json"}).json();
  EXPECT_EQ(score.find("windows")->as_integer("windows"), 4);
  EXPECT_EQ(score.find("scored")->as_integer("scored"), 96);
  const Tree& reference = *score.find("reference");
  EXPECT_NEAR(reference.find("kl_divergence")->as_number("kl"), 0.0, 1e-12);
  EXPECT_EQ(reference.find("top1_agreement")->as_number("top1"), 1.0);
  EXPECT_EQ(reference.find("top5_agreement")->as_number("top5"), 1.0);
  EXPECT_EQ(reference.find("perplexity")->as_number("perplexity"), score.find("perplexity")->as_number("perplexity"));
}

TEST_F(Score, RefusesTextsAndWindowsThatDoNotFit) {
  const std::string model = tiny_shakespeare().string();
  expect_failure(run({"score", model, "--text", write("text", "").string()}), "the text has 0 tokens");
  expect_failure(run({"score", model, "--text", (tiny_shakespeare() / "heldout.txt").string(), "--ctx", "2049"}), "2048");
  expect_failure(run({"score", model, "--text", (folder() / "none").string()}), "none");
}

}  // namespace
}  // namespace meshseek::cli_test

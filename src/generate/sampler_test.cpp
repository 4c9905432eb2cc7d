#include "generate/sampler.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Logits of these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::vector<std::int64_t> draw_counts(const SamplingParams& params, const std::vector<float>& logits, std::int64_t num_draws) {
  Sampler sampler(params);
  std::vector<std::int64_t> counts(logits.size());
  for (std::int64_t draw = 0; draw < num_draws; ++draw) ++counts[static_cast<std::size_t>(sampler.sample(logits))];
  return counts;
}

/// Pearson's statistic of counts against probabilities; tokens of probability 0 must not have been drawn.
double chi_square(const std::vector<std::int64_t>& counts, const std::vector<double>& probabilities) {
  std::int64_t total = 0;
  for (const std::int64_t count : counts) total += count;
  double sum = 0.0;
  for (std::size_t id = 0; id < counts.size(); ++id) {
    if (probabilities[id] == 0.0) {
      EXPECT_EQ(counts[id], 0) << "token " << id;
      continue;
    }
    const double expected = probabilities[id] * static_cast<double>(total);
    sum += (static_cast<double>(counts[id]) - expected) * (static_cast<double>(counts[id]) - expected) / expected;
  }
  return sum;
}

// 99.9 % quantiles of the chi-square distribution with 1, 2 and 4 degrees of freedom.
constexpr double kLimit1 = 10.83;
constexpr double kLimit2 = 13.82;
constexpr double kLimit4 = 18.47;

const std::vector<double> kProbabilities = {0.1, 0.4, 0.05, 0.25, 0.2};

TEST(Sampler, DrawsTheSoftmaxDistribution) {
  const auto counts = draw_counts({.temperature = 1.0, .seed = 7}, logits_of(kProbabilities), 50000);
  EXPECT_LT(chi_square(counts, kProbabilities), kLimit4);
}

TEST(Sampler, DividesLogitsByTheTemperature) {
  std::vector<double> expected;
  double total = 0.0;
  for (const double p : kProbabilities) total += std::sqrt(p);
  for (const double p : kProbabilities) expected.push_back(std::sqrt(p) / total);
  const auto counts = draw_counts({.temperature = 2.0, .seed = 8}, logits_of(kProbabilities), 50000);
  EXPECT_LT(chi_square(counts, expected), kLimit4);
  EXPECT_GT(chi_square(counts, kProbabilities), kLimit4);
}

TEST(Sampler, TopKKeepsTheMostProbableTokens) {
  const auto counts = draw_counts({.temperature = 1.0, .top_k = 2, .seed = 9}, logits_of(kProbabilities), 20000);
  EXPECT_LT(chi_square(counts, {0.0, 0.4 / 0.65, 0.0, 0.25 / 0.65, 0.0}), kLimit1);
}

TEST(Sampler, TopPKeepsTheTokenThatCrossesTheSum) {
  const auto counts = draw_counts({.temperature = 1.0, .top_p = 0.7, .seed = 10}, logits_of(kProbabilities), 20000);
  EXPECT_LT(chi_square(counts, {0.0, 0.4 / 0.85, 0.0, 0.25 / 0.85, 0.2 / 0.85}), kLimit2);
}

TEST(Sampler, TopPIsMeasuredOverWhatTopKLeft) {
  // Of the two kept tokens the best has 0.4 / 0.65 = 0.615 of the sum, so 0.6 keeps it alone although its probability is 0.4.
  const auto counts = draw_counts({.temperature = 1.0, .top_k = 2, .top_p = 0.6, .seed = 11}, logits_of(kProbabilities), 1000);
  EXPECT_EQ(counts[1], 1000);
}

/// More tokens than are sorted at once, many of them equal: the kept ones are those of a sorted vocabulary.
TEST(Sampler, TopPOfALargeVocabularyKeepsTheFirstOfTheSortedOnes) {
  Random random(3);
  std::vector<float> logits;
  for (int id = 0; id < 5000; ++id) logits.push_back(static_cast<float>(static_cast<int>(random.uniform() * 40.0)) / 8.0F);
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  double total = 0.0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  for (const double top_p : {0.001, 0.3, 0.9}) {
    std::set<std::int64_t> kept;
    double sum = 0.0;
    for (std::size_t idx = 0; sum < top_p * total; ++idx) {
      kept.insert(static_cast<std::int64_t>(order[idx]));
      sum += std::exp(static_cast<double>(logits[order[idx]]));
    }
    Sampler sampler({.temperature = 1.0, .top_p = top_p, .seed = 5});
    std::set<std::int64_t> drawn;
    for (int draw = 0; draw < 3000; ++draw) drawn.insert(sampler.sample(logits));
    EXPECT_TRUE(std::includes(kept.begin(), kept.end(), drawn.begin(), drawn.end())) << top_p;
    EXPECT_GT(drawn.size(), std::min<std::size_t>(kept.size(), 3000) / 4) << top_p;
  }
}

TEST(Sampler, MinPIsRelativeToTheBestToken) {
  const auto counts = draw_counts({.temperature = 1.0, .min_p = 0.45, .seed = 12}, logits_of(kProbabilities), 20000);
  EXPECT_LT(chi_square(counts, {0.0, 0.4 / 0.85, 0.0, 0.25 / 0.85, 0.2 / 0.85}), kLimit2);
}

TEST(Sampler, TemperatureActsBeforeTopP) {
  // At temperature 0.25 the best token has 0.83 of the probability, so that 0.7 keeps it alone.
  const auto counts = draw_counts({.temperature = 0.25, .top_p = 0.7, .seed = 13}, logits_of(kProbabilities), 1000);
  EXPECT_EQ(counts[1], 1000);
}

TEST(Sampler, RepeatsWithTheSameSeedAndDiffersWithAnother) {
  const std::vector<float> logits = logits_of(kProbabilities);
  std::vector<std::vector<std::int64_t>> draws;
  for (const std::uint64_t seed : {1U, 1U, 2U}) {
    Sampler sampler({.temperature = 1.0, .seed = seed});
    draws.emplace_back();
    for (int draw = 0; draw < 64; ++draw) draws.back().push_back(sampler.sample(logits));
  }
  EXPECT_EQ(draws[0], draws[1]);
  EXPECT_NE(draws[0], draws[2]);
}

TEST(Random, GivesThePublishedSplitmix64Numbers) {
  // The first outputs of Vigna's splitmix64.c for the seed 1234567.
  Random random(1234567);
  EXPECT_EQ(random.next(), 6457827717110365317U);
  EXPECT_EQ(random.next(), 3203168211198807973U);
  EXPECT_EQ(random.next(), 9817491932198370423U);
}

TEST(Random, UniformNumbersFillTheHalfOpenInterval) {
  Random random(3);
  std::array<std::int64_t, 10> counts = {};
  for (int draw = 0; draw < 10000; ++draw) {
    const double number = random.uniform();
    ASSERT_GE(number, 0.0);
    ASSERT_LT(number, 1.0);
    ++counts[static_cast<std::size_t>(number * 10.0)];
  }
  for (const std::int64_t count : counts) EXPECT_NEAR(static_cast<double>(count), 1000.0, 120.0);
}

TEST(Sampler, GreedyTakesTheLowestIdAmongEquals) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample(std::vector<float>{1.0F, 3.0F, 3.0F, -2.0F}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-5.0F}), 0);
}

TEST(Sampler, NarrowSettingsEqualGreedyChoice) {
  const std::vector<std::vector<float>> rows = {{1.0F, 3.0F, 3.0F, -2.0F}, {0.0F, 0.0F, 0.1F}, {-1.0F, -kInfinity, -0.5F}};
  Sampler greedy({});
  for (const SamplingParams& params : {SamplingParams{.temperature = 1.0, .top_k = 1}, SamplingParams{.temperature = 5.0, .top_p = 1e-9}}) {
    Sampler sampler(params);
    for (const auto& row : rows) {
      for (int draw = 0; draw < 20; ++draw) EXPECT_EQ(sampler.sample(row), greedy.sample(row));
    }
  }
}

TEST(Sampler, NeverDrawsATokenOfMinusInfinity) {
  const auto counts = draw_counts({.temperature = 1.0, .seed = 4}, {-kInfinity, 0.0F, -kInfinity, 0.0F}, 4000);
  EXPECT_LT(chi_square(counts, {0.0, 0.5, 0.0, 0.5}), kLimit1);
}

TEST(Sampler, SurvivesATinyTemperature) {
  Sampler sampler({.temperature = 1e-300});
  EXPECT_EQ(sampler.sample(std::vector<float>{1.0F, 2.0F, 1.9F}), 1);
}

TEST(Sampler, RefusesLogitsThatAreNoNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double temperature : {0.0, 1.0}) {
    Sampler sampler({.temperature = temperature});
    const auto sample = [&](std::vector<float> logits) { return [&sampler, logits] { sampler.sample(logits); }; };
    EXPECT_THAT(sample({0.0F, nan, 1.0F}), ThrowsMessage<Error>(HasSubstr("token 1 is nan")));
    EXPECT_THAT(sample({0.0F, kInfinity}), ThrowsMessage<Error>(HasSubstr("token 1 is inf")));
    EXPECT_THAT(sample({-kInfinity, -kInfinity}), ThrowsMessage<Error>(HasSubstr("every logit is -inf")));
    EXPECT_THAT(sample({}), ThrowsMessage<Error>(HasSubstr("no logits")));
  }
}

TEST(Sampler, RefusesParametersOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto make = [](const SamplingParams& params) { return [params] { Sampler sampler(params); }; };
  EXPECT_THAT(make({.temperature = -0.5}), ThrowsMessage<Error>(HasSubstr("temperature is -0.5")));
  EXPECT_THAT(make({.temperature = nan}), ThrowsMessage<Error>(HasSubstr("temperature is nan")));
  EXPECT_THAT(make({.top_k = -1}), ThrowsMessage<Error>(HasSubstr("top_k is -1")));
  EXPECT_THAT(make({.top_p = 0.0}), ThrowsMessage<Error>(HasSubstr("top_p is 0")));
  EXPECT_THAT(make({.top_p = 1.5}), ThrowsMessage<Error>(HasSubstr("top_p is 1.5")));
  EXPECT_THAT(make({.min_p = 2.0}), ThrowsMessage<Error>(HasSubstr("min_p is 2")));
}

}  // namespace
}  // namespace meshseek

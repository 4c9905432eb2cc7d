#include "generate/score.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/error.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

float log_of(double p) { return static_cast<float>(std::log(p)); }

TEST(TextScore, ScoresEveryTokenButTheFirst) {
  // Rows are unnormalised log probabilities of a vocabulary of three; the last row predicts nothing.
  const std::vector<float> logits = {
      log_of(0.2) + 5.0F, log_of(0.3) + 5.0F, log_of(0.5) + 5.0F, log_of(0.7), log_of(0.2), log_of(0.1), 0.0F, 9.0F, 0.0F};
  const std::vector<std::int64_t> ids = {1, 2, 1};
  TextScore score;
  add_window(score, ids, logits);
  EXPECT_EQ(score.num_windows, 1);
  EXPECT_EQ(score.num_scored, 2);
  EXPECT_NEAR(score.nll_sum, -std::log(0.5) - std::log(0.2), 1e-6);
  EXPECT_NEAR(score.perplexity(), std::sqrt(1.0 / (0.5 * 0.2)), 1e-5);
  EXPECT_DOUBLE_EQ(score.top1_accuracy(), 0.5);
}

TEST(TextScore, IsZeroBeforeAnythingWasScored) { EXPECT_EQ(TextScore{}.mean_nll(), 0.0); }

TEST(Agreement, MeasuresTheDivergenceFromTheReference) {
  const std::vector<double> p = {0.5, 0.2, 0.1, 0.1, 0.06, 0.04};
  const std::vector<double> q = {0.2, 0.5, 0.1, 0.02, 0.08, 0.1};
  std::vector<float> reference;
  std::vector<float> model;
  double expected = 0.0;
  for (std::size_t id = 0; id < p.size(); ++id) {
    reference.push_back(log_of(p[id]) - 3.0F);
    model.push_back(log_of(q[id]) + 4.0F);
    expected += p[id] * std::log(p[id] / q[id]);
  }
  Agreement agreement;
  agreement.add(reference, model);
  EXPECT_NEAR(agreement.mean_kl(), expected, 1e-6);
  EXPECT_EQ(agreement.top1(), 0.0);
  EXPECT_DOUBLE_EQ(agreement.top5(), 0.8);  // id 3 is not among the five best of the model
  agreement.add(reference, reference);
  EXPECT_NEAR(agreement.mean_kl(), expected / 2.0, 1e-6);
  EXPECT_DOUBLE_EQ(agreement.top1(), 0.5);
  EXPECT_DOUBLE_EQ(agreement.top5(), 0.9);
}

TEST(Agreement, ATokenThatTheReferenceExcludesAddsNothing) {
  const float excluded = -std::numeric_limits<float>::infinity();
  Agreement agreement;
  agreement.add(std::vector<float>{0.0F, 0.0F, 0.0F, 0.0F, 0.0F, excluded}, std::vector<float>{1.0F, 1.0F, 1.0F, 1.0F, 1.0F, excluded});
  EXPECT_NEAR(agreement.mean_kl(), 0.0, 1e-9);
}

TEST(Agreement, RefusesRowsOfDifferentLength) {
  Agreement agreement;
  EXPECT_THAT([&] { agreement.add(std::vector<float>(6), std::vector<float>(7)); },
              ThrowsMessage<Error>(HasSubstr("6 reference logits and 7")));
  EXPECT_THAT([&] { agreement.add(std::vector<float>(4), std::vector<float>(4)); }, ThrowsMessage<Error>(HasSubstr("at least 5")));
}

TEST(ScoreWindows, MustFitTextAndContext) {
  EXPECT_NO_THROW(check_windows(2, 2, 2));
  EXPECT_THAT([] { check_windows(1, 2, 8); }, ThrowsMessage<Error>(HasSubstr("the text has 1 tokens")));
  EXPECT_THAT([] { check_windows(9, 1, 8); }, ThrowsMessage<Error>(HasSubstr("windows of 1 tokens; expected 2 to 8")));
  EXPECT_THAT([] { check_windows(9, 9, 8); }, ThrowsMessage<Error>(HasSubstr("windows of 9 tokens; expected 2 to 8")));
}

}  // namespace
}  // namespace meshseek

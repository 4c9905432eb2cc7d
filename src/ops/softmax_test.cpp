#include "ops/softmax.hpp"

#include <cmath>
#include <limits>

#include "ops/test_tensors.hpp"
#include "reference/norm.hpp"

namespace meshseek {
namespace {

using namespace testing;

TEST(Softmax, AgreesWithTheReferenceFarFromZero) {
  for (const float shift : {0.0F, 5000.0F, -5000.0F}) {
    std::vector<float> logits = random_values(1000, 1, 8.0F);
    for (float& logit : logits) logit += shift;
    const std::vector<double> expected = reference::softmax(std::vector<double>(logits.begin(), logits.end()));
    const std::vector<float> probabilities = softmax(logits);
    const std::vector<double> logs = log_softmax(logits);
    for (std::size_t idx = 0; idx < logits.size(); ++idx) {
      EXPECT_NEAR(probabilities[idx], expected[idx], 1e-7 * expected[idx] + 1e-45);
      EXPECT_NEAR(logs[idx], std::log(expected[idx]), 1e-11);
    }
  }
}

TEST(Softmax, KeepsBannedTokensAtZero) {
  const float banned = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {banned, 0.0F, banned, 0.0F};
  EXPECT_THAT(softmax(logits), ::testing::ElementsAre(0.0F, 0.5F, 0.0F, 0.5F));
  EXPECT_EQ(log_softmax(logits)[0], -std::numeric_limits<double>::infinity());
}

TEST(Softmax, OfNothingIsNothing) {
  EXPECT_TRUE(softmax({}).empty());
  EXPECT_TRUE(log_softmax({}).empty());
}

TEST(Argmax, TakesTheLowestIndexAmongEqualsAndSkipsNaN) {
  EXPECT_EQ(argmax(std::vector<float>{1.0F, 3.0F, 3.0F, 2.0F}), 1);
  EXPECT_EQ(argmax(std::vector<float>{NAN, -2.0F, NAN, -1.0F}), 3);
  EXPECT_EQ(argmax(std::vector<float>{-INFINITY, -INFINITY}), 0);
}

TEST(Argmax, RefusesRowsWithoutALargestValue) {
  const std::string expected = "[argmax] there is no largest value: the logits are empty or all NaN";
  EXPECT_EQ(message_of([] { argmax({}); }), expected);
  EXPECT_EQ(message_of([] { argmax(std::vector<float>{NAN, NAN}); }), expected);
}

}  // namespace
}  // namespace meshseek

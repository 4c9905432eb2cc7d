// Functions of rows: exp, sigmoid, silu, softmax.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "tests/support/kernel_cases.hpp"

namespace meshseek::cpu {
namespace {

using namespace testing;

/// Distance in units of the last place of the exact value.
double ulps(float actual, double exact) {
  const int exponent = std::max(std::ilogb(exact), -126);
  return std::abs(static_cast<double>(actual) - exact) / std::ldexp(1.0, exponent - 23);
}

TEST(Kernels, ExpRowIsExpWithinTwoUlps) {
  std::vector<float> inputs;
  for (float x = -87.3F; x < 88.0F; x += 0.00137F) inputs.push_back(x);
  for (const Kernels* table : tables()) {
    std::vector<float> values = inputs;
    table->exp_row(values.data(), static_cast<std::int64_t>(values.size()), 1.0F, 0.0F);
    double worst = 0.0;
    for (std::size_t idx = 0; idx < inputs.size(); ++idx)
      worst = std::max(worst, ulps(values[idx], std::exp(static_cast<double>(inputs[idx]))));
    EXPECT_LE(worst, 2.0) << table->isa;
  }
}

TEST(Kernels, SumOfSquaresIsThatOfFloat64WithTheSameBitsEverywhere) {
  for (std::int64_t count = 0; count <= 67; ++count) {
    const std::vector<float> values = random_values(count, 11);
    double exact = 0.0;
    for (const float value : values) exact += static_cast<double>(value) * static_cast<double>(value);
    const double first = tables().front()->sum_of_squares(values.data(), count);
    EXPECT_NEAR(first, exact, 1e-14 * exact) << count;
    for (const Kernels* table : tables()) EXPECT_EQ(table->sum_of_squares(values.data(), count), first) << table->isa << " " << count;
  }
}

TEST(Kernels, ExpRowAtItsEdges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const Kernels* table : tables()) {
    std::vector<float> values = {0.0F, -kInfinity, -87.4F, -1e30F, std::nanf("")};
    table->exp_row(values.data(), 5, 1.0F, 0.0F);
    EXPECT_EQ(values[0], 1.0F) << table->isa;
    for (std::size_t idx = 1; idx < 4; ++idx) EXPECT_EQ(values[idx], 0.0F) << table->isa << " " << idx;
    EXPECT_TRUE(std::isnan(values[4])) << table->isa;
  }
}

TEST(Kernels, ExpRowScalesShiftsSumsAndWritesNothingBeyond) {
  for (const Kernels* table : tables()) {
    for (std::int64_t count = 0; count <= 49; ++count) {
      std::vector<float> values = random_values(64, 7);
      const std::vector<float> before = values;
      const float sum = table->exp_row(values.data(), count, 0.5F, 1.25F);
      double exact_sum = 0.0;
      for (std::size_t idx = 0; idx < values.size(); ++idx) {
        const bool inside = static_cast<std::int64_t>(idx) < count;
        const double exact = inside ? std::exp(static_cast<double>(before[idx] * 0.5F - 1.25F)) : static_cast<double>(before[idx]);
        ASSERT_NEAR(values[idx], exact, inside ? 4e-7 * exact : 0.0) << table->isa << " " << count << " " << idx;
        exact_sum += inside ? exact : 0.0;
      }
      ASSERT_NEAR(sum, exact_sum, 4e-7 * static_cast<double>(count + 1) * exact_sum) << table->isa << " " << count;
    }
  }
}

TEST(Kernels, SigmoidAndSiluAgreeWithFloat64) {
  std::vector<float> inputs = {0.0F, -0.0F};
  for (float x = -86.9F; x < 200.0F; x += 0.00731F) inputs.push_back(x);
  for (const Kernels* table : tables()) {
    std::vector<float> sigmoid = inputs, silu = inputs;
    table->sigmoid(sigmoid.data(), static_cast<std::int64_t>(inputs.size()));
    table->silu(silu.data(), static_cast<std::int64_t>(inputs.size()));
    for (std::size_t idx = 0; idx < inputs.size(); ++idx) {
      const double exact = 1.0 / (1.0 + std::exp(-static_cast<double>(inputs[idx])));
      ASSERT_LE(ulps(sigmoid[idx], exact), 4.0) << table->isa << " " << inputs[idx];
      ASSERT_NEAR(silu[idx], inputs[idx] * exact, 5.0 * kEpsilon * std::abs(inputs[idx]) * exact) << table->isa << " " << inputs[idx];
    }
  }
}

TEST(Kernels, SigmoidAndSiluAtTheirEdges) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const Kernels* table : tables()) {
    for (const auto function : {table->sigmoid, table->silu}) {
      std::vector<float> values = {-1e30F, -100.0F, kInfinity, std::nanf(""), 5.0F};
      function(values.data(), 4);
      EXPECT_NEAR(values[0], 0.0F, function == table->silu ? 1e-7 : 1e-37) << table->isa;
      EXPECT_NEAR(values[1], 0.0F, 1e-35) << table->isa;
      EXPECT_EQ(values[2], function == table->silu ? kInfinity : 1.0F) << table->isa;
      EXPECT_TRUE(std::isnan(values[3])) << table->isa;
      EXPECT_EQ(values[4], 5.0F) << table->isa << ": written beyond the count";
    }
  }
}

TEST(Kernels, WeighScoresIsTheOnlineSoftmaxOfWhatEachRowSees) {
  constexpr std::int64_t kRows = 32, kCount = 21;
  constexpr float kScale = 2.7F;
  const std::vector<float> given = random_values(kRows * kCount, 23);
  for (const Kernels* table : tables()) {
    std::vector<float> scores = given, tops(kRows, -std::numeric_limits<float>::infinity()), sums(kRows, -1.0F);
    std::vector<std::int32_t> seen(kRows);
    for (std::size_t row = 0; row < kRows; ++row) {
      seen[row] = static_cast<std::int32_t>(row % (kCount + 1));
      if (row % 3 == 0) tops[row] = 9.0F;  // of earlier tokens
      for (std::size_t idx = static_cast<std::size_t>(seen[row]); idx < kCount; ++idx) scores[idx * kRows + row] = std::nanf("");
    }
    const std::vector<float> before = tops;
    table->weigh_scores({.scores = scores.data(),
                         .count = kCount,
                         .num_rows = kRows,
                         .seen = seen.data(),
                         .scale = kScale,
                         .tops = tops.data(),
                         .sums = sums.data()});
    for (std::size_t row = 0; row < kRows; ++row) {
      float top = before[row];
      for (std::size_t idx = 0; idx < static_cast<std::size_t>(seen[row]); ++idx) top = std::max(top, given[idx * kRows + row] * kScale);
      ASSERT_EQ(tops[row], top) << table->isa << " " << row;
      double sum = 0.0;
      for (std::size_t idx = 0; idx < kCount; ++idx) {
        const bool sees = idx < static_cast<std::size_t>(seen[row]);
        const double exact = sees ? std::exp(double{given[idx * kRows + row]} * double{kScale} - double{top}) : 0.0;
        ASSERT_NEAR(scores[idx * kRows + row], exact, 1e-6 * exact) << table->isa << " " << row << " " << idx;
        sum += exact;
      }
      ASSERT_NEAR(sums[row], sum, 4e-6 * sum) << table->isa << " " << row;
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu

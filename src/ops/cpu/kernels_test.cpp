#include "ops/cpu/kernels.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/error.hpp"

namespace meshseek::cpu {
namespace {

constexpr double kEpsilon = std::numeric_limits<float>::epsilon() / 2.0;

/// The tables that this machine can run; scalar is always among them.
std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> result;
  for (const char* isa : {"scalar", "avx2", "avx512"}) {
    if (const Kernels* table = find_kernels(isa)) result.push_back(table);
  }
  return result;
}

std::vector<float> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

std::vector<std::int16_t> random_codes(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> code(-127, 127);
  std::vector<std::int16_t> values(static_cast<std::size_t>(count));
  for (std::int16_t& value : values) value = static_cast<std::int16_t>(code(generator));
  return values;
}

TEST(Kernels, DotBlockIsTheSumForEveryInstructionSetAndCount) {
  constexpr std::int64_t kK = 80, kStride = 96, kOutStride = 11;
  const std::vector<float> x = random_values(9 * kStride, 1);
  const std::vector<float> w = random_values(9 * kStride, 2);
  for (const Kernels* table : tables()) {
    for (std::int64_t num_x = 0; num_x <= 9; ++num_x) {
      for (std::int64_t num_w = 0; num_w <= 9; ++num_w) {
        std::vector<float> out(9 * kOutStride, -7.0F);
        table->dot_block({x.data(), kStride, num_x, w.data(), kStride, num_w, kK, out.data(), kOutStride});
        for (std::int64_t idx = 0; idx < 9 * kOutStride; ++idx) {
          const std::int64_t t = idx / kOutStride, r = idx % kOutStride;
          if (t >= num_x || r >= num_w) {
            ASSERT_EQ(out[static_cast<std::size_t>(idx)], -7.0F) << "written beyond the block";
            continue;
          }
          double sum = 0.0, magnitude = 0.0;
          for (std::int64_t i = 0; i < kK; ++i) {
            const double product =
                double{x[static_cast<std::size_t>(t * kStride + i)]} * double{w[static_cast<std::size_t>(r * kStride + i)]};
            sum += product;
            magnitude += std::abs(product);
          }
          ASSERT_NEAR(out[static_cast<std::size_t>(idx)], sum, (kK / 16 + 6) * kEpsilon * magnitude) << table->isa;
        }
      }
    }
  }
}

TEST(Kernels, Int8BlockIsTheSameInEveryInstructionSet) {
  constexpr std::int64_t kBlocks = 5, kGroups = 2, kMaxX = 19;
  const std::vector<std::int16_t> x = random_codes(kMaxX * kBlocks * 16, 3);
  const std::vector<std::int16_t> w = random_codes(kGroups * kBlocks * 256, 4);
  std::vector<float> x_scale = random_values(kMaxX * kBlocks, 5), w_scale = random_values(kGroups * kBlocks * 16, 6);
  for (const Kernels* table : tables()) {
    for (std::int64_t num_x = 0; num_x <= kMaxX; ++num_x) {
      std::vector<float> out(kMaxX * 33, -7.0F);
      table->dot_block_int8({x.data(), x_scale.data(), kBlocks * 16, num_x, w.data(), w_scale.data(), kGroups, kBlocks, out.data(), 33});
      for (std::int64_t t = 0; t < kMaxX; ++t) {
        for (std::int64_t row = 0; row < 33; ++row) {
          const float actual = out[static_cast<std::size_t>(t * 33 + row)];
          if (t >= num_x || row == 32) {
            ASSERT_EQ(actual, -7.0F) << "written beyond the block";
            continue;
          }
          double sum = 0.0, magnitude = 0.0;
          for (std::int64_t block = 0; block < kBlocks; ++block) {
            const std::int64_t w_block = row / 16 * kBlocks + block;
            std::int64_t exact = 0;
            for (std::int64_t i = 0; i < 16; ++i) {
              exact += std::int64_t{x[static_cast<std::size_t>((t * kBlocks + block) * 16 + i)]} *
                       w[static_cast<std::size_t>(w_block * 256 + i / 2 * 32 + row % 16 * 2 + i % 2)];
            }
            const double term = static_cast<double>(exact) * double{x_scale[static_cast<std::size_t>(t * kBlocks + block)]} *
                                double{w_scale[static_cast<std::size_t>(w_block * 16 + row % 16)]};
            sum += term;
            magnitude += std::abs(term);
          }
          ASSERT_NEAR(actual, sum, (kBlocks + 3) * kEpsilon * magnitude) << table->isa;
        }
      }
    }
  }
}

TEST(Kernels, WeightedSumAddsRowsForEveryInstructionSetAndCount) {
  constexpr std::int64_t kRows = 23, kStride = 70;
  const std::vector<float> weights = random_values(6 * 30, 7);
  const std::vector<float> rows = random_values(kRows * kStride, 8);
  for (const Kernels* table : tables()) {
    for (const std::int64_t cols : {16, 48, 64}) {
      for (std::int64_t num_x = 1; num_x <= 6; ++num_x) {
        std::vector<float> out(6 * kStride, -7.0F);
        table->weighted_sum({weights.data(), 30, num_x, rows.data(), kStride, kRows, cols, out.data(), kStride});
        for (std::int64_t idx = 0; idx < 6 * kStride; ++idx) {
          if (idx / kStride >= num_x || idx % kStride >= cols) {
            ASSERT_EQ(out[static_cast<std::size_t>(idx)], -7.0F) << "written beyond the block";
            continue;
          }
          double sum = 0.0, magnitude = 0.0;
          for (std::int64_t s = 0; s < kRows; ++s) {
            const double term = double{weights[static_cast<std::size_t>(idx / kStride * 30 + s)]} *
                                double{rows[static_cast<std::size_t>(s * kStride + idx % kStride)]};
            sum += term;
            magnitude += std::abs(term);
          }
          ASSERT_NEAR(out[static_cast<std::size_t>(idx)], sum, (kRows + 2) * kEpsilon * magnitude) << table->isa;
        }
      }
    }
  }
}

TEST(Kernels, AxpyContinuesAWeightedSumBitForBit) {
  constexpr std::int64_t kRows = 70, kCols = 48;
  const std::vector<float> weights = random_values(kRows, 9);
  const std::vector<float> rows = random_values(kRows * kCols, 10);
  for (const Kernels* table : tables()) {
    std::vector<float> whole(kCols), pieces(kCols);
    table->weighted_sum({weights.data(), kRows, 1, rows.data(), kCols, kRows, kCols, whole.data(), kCols});
    table->weighted_sum({weights.data(), kRows, 1, rows.data(), kCols, kRows - 3, kCols, pieces.data(), kCols});
    for (std::int64_t s = kRows - 3; s < kRows; ++s)
      table->axpy(weights[static_cast<std::size_t>(s)], rows.data() + s * kCols, kCols, pieces.data());
    EXPECT_EQ(pieces, whole) << table->isa;
  }
}

TEST(Kernels, ARowsBitsDoNotDependOnTheRowsAroundIt) {
  constexpr std::int64_t kK = 64;
  const std::vector<float> x = random_values(9 * kK, 11);
  const std::vector<float> w = random_values(9 * kK, 12);
  for (const Kernels* table : tables()) {
    std::vector<float> all(81);
    table->dot_block({x.data(), kK, 9, w.data(), kK, 9, kK, all.data(), 9});
    for (std::int64_t t = 0; t < 9; ++t) {
      for (std::int64_t r = 0; r < 9; ++r) {
        float alone = 0.0F;
        table->dot_block({x.data() + t * kK, kK, 1, w.data() + r * kK, kK, 1, kK, &alone, 1});
        ASSERT_EQ(alone, all[static_cast<std::size_t>(t * 9 + r)]) << table->isa;
      }
    }
  }
}

TEST(Kernels, WidensEveryBfloat16) {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t idx = 0; idx < bits.size(); ++idx) bits[idx] = static_cast<std::uint16_t>(idx);
  for (const Kernels* table : tables()) {
    std::vector<float> values(bits.size());
    table->widen_bf16(bits.data(), static_cast<std::int64_t>(bits.size()), values.data());
    for (std::size_t idx = 0; idx < bits.size(); ++idx) {
      std::uint32_t word = 0;
      std::memcpy(&word, &values[idx], sizeof(word));
      ASSERT_EQ(word, static_cast<std::uint32_t>(idx) << 16) << table->isa;
    }
  }
}

TEST(Kernels, AreChosenByNameAndRefuseUnknownNames) {
  EXPECT_STREQ(choose_kernels("scalar").isa, "scalar");
  for (const Kernels* table : tables()) EXPECT_EQ(&choose_kernels(table->isa), table);
  EXPECT_EQ(&choose_kernels(nullptr), tables().back());
  try {
    choose_kernels("sse9");
    FAIL() << "chose an unknown instruction set";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[MESHSEEK_FORCE_ISA] \"sse9\" is unknown or not supported by this machine; expected scalar, avx2 or avx512");
  }
}

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

}  // namespace
}  // namespace meshseek::cpu

// Products and sums of rows, and the choice of a table.
#include "ops/cpu/kernels.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "base/error.hpp"
#include "tests/support/kernel_cases.hpp"

namespace meshseek::cpu {
namespace {

using namespace testing;

std::vector<std::int8_t> random_codes(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> code(-127, 127);
  std::vector<std::int8_t> values(static_cast<std::size_t>(count));
  for (std::int8_t& value : values) value = static_cast<std::int8_t>(code(generator));
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
  const std::vector<std::int8_t> x = random_codes(kMaxX * kBlocks * 16, 3);
  const std::vector<std::int8_t> w = random_codes(kGroups * kBlocks * 256, 4);
  std::vector<float> x_scale = random_values(kMaxX * kBlocks, 5), w_scale = random_values(kGroups * kBlocks * 16, 6);
  for (const Kernels* table : tables()) {
    std::vector<std::uint8_t> shifted;
    for (const std::int8_t value : w) shifted.push_back(static_cast<std::uint8_t>(value + table->int8_offset));
    std::vector<std::int32_t> correction(kMaxX * kBlocks);
    for (std::size_t idx = 0; idx < x.size(); ++idx) correction[idx / 16] -= table->int8_offset * x[idx];
    for (std::int64_t num_x = 0; num_x <= kMaxX; ++num_x) {
      std::vector<float> out(kMaxX * 33, -7.0F);
      table->dot_block_int8({x.data(), x_scale.data(), correction.data(), kBlocks * 16, num_x, shifted.data(), w_scale.data(), kGroups,
                             kBlocks, out.data(), 33});
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
                       w[static_cast<std::size_t>(w_block * 256 + i / 4 * 64 + row % 16 * 4 + i % 4)];
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
  constexpr std::int64_t kMostX = 29, kRows = 23, kStride = 70;
  const std::vector<float> weights = random_values(kMostX * 30, 7);
  const std::vector<float> rows = random_values(kRows * kStride, 8);
  for (const Kernels* table : tables()) {
    for (const std::int64_t cols : {16, 48, 64}) {
      for (std::int64_t num_x = 1; num_x <= kMostX; ++num_x) {
        std::vector<float> out(kMostX * kStride, -7.0F);
        table->weighted_sum({.weights = weights.data(),
                             .weights_stride = 30,
                             .num_x = num_x,
                             .rows = rows.data(),
                             .row_stride = kStride,
                             .num_rows = kRows,
                             .cols = cols,
                             .out = out.data(),
                             .out_stride = kStride});
        for (std::int64_t idx = 0; idx < kMostX * kStride; ++idx) {
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

/// One sum alone, of weights that lie `step` apart.
std::vector<float> sum_alone(const Kernels& table, const float* weights, std::int64_t step, const std::vector<float>& rows,
                             std::int64_t num_rows, std::int64_t cols) {
  std::vector<float> out(static_cast<std::size_t>(cols));
  table.weighted_sum({.weights = weights,
                      .weights_step = step,
                      .num_x = 1,
                      .rows = rows.data(),
                      .row_stride = cols,
                      .num_rows = num_rows,
                      .cols = cols,
                      .out = out.data(),
                      .out_stride = cols});
  return out;
}

TEST(Kernels, WeightedSumTakesWeightsByColumnsAndAddsToWhatIsThere) {
  constexpr std::int64_t kRows = 19;
  const std::vector<float> weights = random_values(kRows * 40, 19);
  for (const Kernels* table : tables()) {
    for (const std::int64_t cols : {16, 32, 80}) {
      const std::vector<float> rows = random_values(kRows * cols, 20);
      for (const std::int64_t num_x : {1, 2, 3, 4, 8, 13, 24, 40}) {
        const std::vector<float> before = random_values(num_x * cols, 21);
        std::vector<float> out = before;
        table->weighted_sum({.weights = weights.data(),
                             .weights_stride = 1,
                             .weights_step = 40,
                             .num_x = num_x,
                             .rows = rows.data(),
                             .row_stride = cols,
                             .num_rows = kRows,
                             .cols = cols,
                             .out = out.data(),
                             .out_stride = cols,
                             .adds = true});
        for (std::int64_t t = 0; t < num_x; ++t) {
          const std::vector<float> alone = sum_alone(*table, weights.data() + t, 40, rows, kRows, cols);
          for (std::int64_t c = 0; c < cols; ++c) {
            const auto idx = static_cast<std::size_t>(t * cols + c);
            ASSERT_EQ(out[idx], before[idx] + alone[static_cast<std::size_t>(c)]) << table->isa << " " << num_x << " " << t << " " << c;
          }
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
    const std::vector<float> whole = sum_alone(*table, weights.data(), 1, rows, kRows, kCols);
    std::vector<float> pieces = sum_alone(*table, weights.data(), 1, rows, kRows - 3, kCols);
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

TEST(Kernels, AreChosenByNameAndRefuseUnknownNames) {
  EXPECT_STREQ(choose_kernels("scalar").isa, "scalar");
  for (const Kernels* table : tables()) EXPECT_STREQ(choose_kernels(table->isa).isa, table->isa);
  EXPECT_EQ(&choose_kernels(nullptr), tables().back());
  try {
    choose_kernels("sse9");
    FAIL() << "chose an unknown instruction set";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "[MESHSEEK_FORCE_ISA] \"sse9\" is unknown or not supported by this machine; expected scalar, avx2, avx512 or amx");
  }
}

}  // namespace
}  // namespace meshseek::cpu

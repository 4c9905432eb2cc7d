// Sums have the bits of the slow sum that kernels.hpp describes, also where the kernels cut K into chunks or take another way for unusual scales.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string_view>
#include <vector>

#include "ops/cpu/aligned_buffer.hpp"
#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {
namespace {

/// a * b + c with as many roundings as the table's instructions have.
float multiply_add(const Kernels& table, float a, float b, float c) {
  if (std::string_view(table.isa) != "scalar") return std::fma(a, b, c);
  const volatile float product = a * b;  // volatile: not contracted whatever this file is compiled for
  return product + c;
}

float slow_dot(const Kernels& table, const float* x, const float* w, std::int64_t k) {
  float lanes[16] = {};
  for (std::int64_t i = 0; i < k; ++i) lanes[i % 16] = multiply_add(table, x[i], w[i], lanes[i % 16]);
  float quad[4] = {};
  for (std::size_t idx = 0; idx < 4; ++idx) quad[idx] = (lanes[idx] + lanes[8 + idx]) + (lanes[4 + idx] + lanes[12 + idx]);
  return (quad[0] + quad[2]) + (quad[1] + quad[3]);
}

TEST(KernelsOrder, FloatDotsOfAnyLengthHaveTheBitsOfSixteenPartialSums) {
  constexpr std::int64_t kMaxX = 43, kMaxW = 10, kStride = 3088;
  std::mt19937 generator(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(kMaxX * kStride), w(kMaxW * kStride);
  for (float& value : x) value = normal(generator);
  for (float& value : w) value = normal(generator);
  for (int table_idx = 0; const Kernels* table = kernels_at(table_idx); ++table_idx) {
    for (const std::int64_t k : {0, 16, 1024, 1040, 2048, 3072}) {
      for (const std::int64_t num_x : {1, 6, 8, 14, 32, 33, 43}) {
        for (const std::int64_t num_w : {1, 4, 10}) {
          std::vector<float> out(static_cast<std::size_t>(num_x * kMaxW), -7.0F);
          table->dot_block({x.data(), kStride, num_x, w.data(), kStride, num_w, k, out.data(), kMaxW});
          for (std::int64_t idx = 0; idx < num_x * kMaxW; ++idx) {
            const std::int64_t t = idx / kMaxW, r = idx % kMaxW;
            if (r < num_w && r > 0 && r + 1 < num_w && t > 0 && t + 1 < num_x && t % 5 != 0) continue;  // enough of the inner ones
            const float expected = r < num_w ? slow_dot(*table, x.data() + t * kStride, w.data() + r * kStride, k) : -7.0F;
            ASSERT_EQ(out[static_cast<std::size_t>(idx)], expected) << table->isa << " k " << k << " x " << num_x << " w " << num_w;
          }
        }
      }
    }
  }
}

/// Codes and scales for num_x rows of x, 16 * num_groups of w and num_blocks blocks of K.
struct Int8Problem {
  static constexpr std::int64_t kMaxX = 11, kGroups = 3, kBlocks = 70;

  explicit Int8Problem(unsigned seed) {
    std::mt19937 generator(seed);
    for (std::int8_t& code : x) code = static_cast<std::int8_t>(static_cast<int>(generator() % 255) - 127);
    for (std::int8_t& code : w) code = static_cast<std::int8_t>(static_cast<int>(generator() % 255) - 127);
    std::lognormal_distribution<float> size;
    for (float& scale : x_scale) scale = size(generator);
    for (float& scale : w_scale) scale = std::ldexp(1.0F, static_cast<int>(generator() % 40) - 30);
  }

  float slow(const Kernels& table, std::int64_t t, std::int64_t row) const {
    float sum = 0.0F;
    for (std::int64_t block = 0; block < kBlocks; ++block) {
      std::int32_t exact = 0;
      for (std::int64_t idx = 0; idx < 16; ++idx) {
        exact += std::int32_t{x[static_cast<std::size_t>((t * kBlocks + block) * 16 + idx)]} *
                 w[static_cast<std::size_t>((row / 16 * kBlocks + block) * 256 + idx / 4 * 64 + row % 16 * 4 + idx % 4)];
      }
      const volatile float scale = x_scale[static_cast<std::size_t>(t * kBlocks + block)] *
                                   w_scale[static_cast<std::size_t>((row / 16 * kBlocks + block) * 16 + row % 16)];
      sum = multiply_add(table, static_cast<float>(exact), scale, sum);
    }
    return sum;
  }

  void expect_slow_bits(const Kernels& table, const char* what) const {
    std::vector<std::uint8_t> shifted;
    for (const std::int8_t code : w) shifted.push_back(static_cast<std::uint8_t>(code + table.int8_offset));
    std::vector<std::int32_t> correction(x_scale.size());
    for (std::size_t idx = 0; idx < x.size(); ++idx) correction[idx / 16] -= table.int8_offset * x[idx];
    std::vector<float> out(kMaxX * 16 * kGroups);
    table.dot_block_int8({x.data(), x_scale.data(), correction.data(), kBlocks * 16, kMaxX, shifted.data(), w_scale.data(), kGroups,
                          kBlocks, out.data(), 16 * kGroups});
    for (std::int64_t t = 0; t < kMaxX; ++t) {
      for (std::int64_t row = 0; row < 16 * kGroups; ++row) {
        const float expected = slow(table, t, row), actual = out[static_cast<std::size_t>(t * 16 * kGroups + row)];
        if (std::isnan(expected))
          ASSERT_TRUE(std::isnan(actual)) << table.isa << " " << what << " x " << t << " row " << row;
        else
          ASSERT_EQ(actual, expected) << table.isa << " " << what << " x " << t << " row " << row;
      }
    }
  }

  std::vector<std::int8_t> x = std::vector<std::int8_t>(kMaxX * kBlocks * 16);
  std::vector<std::int8_t> w = std::vector<std::int8_t>(kGroups * kBlocks * 256);
  std::vector<float> x_scale = std::vector<float>(kMaxX * kBlocks);
  std::vector<float> w_scale = std::vector<float>(kGroups * kBlocks * 16);
};

TEST(KernelsOrder, Int8DotsHaveTheBitsOfTheSlowSumWhateverTheScales) {
  constexpr std::size_t kBlocks = Int8Problem::kBlocks;
  for (int table_idx = 0; const Kernels* table = kernels_at(table_idx); ++table_idx) {
    Int8Problem(2).expect_slow_bits(*table, "plain scales");
    for (const float special : {0.0F, std::numeric_limits<float>::denorm_min(), 0x1p-61F, 0x1p-60F, 0x1.8p59F, 0x1p60F, 0x1p125F,
                                std::numeric_limits<float>::quiet_NaN()}) {
      Int8Problem with_x(3);
      with_x.x_scale[2 * kBlocks + 5] = special;
      with_x.x_scale[10 * kBlocks + 69] = special;
      with_x.expect_slow_bits(*table, "a special scale of x");
      Int8Problem with_w(4);
      with_w.w_scale[40 * 16 + 3] = special;
      with_w.w_scale[(2 * kBlocks + 64) * 16 + 15] = special;
      with_w.expect_slow_bits(*table, "a special scale of w");
    }
    Int8Problem odd(5);  // no powers of two
    for (float& scale : odd.w_scale) scale *= -1.7F;
    odd.expect_slow_bits(*table, "other scales of w");
  }
}

TEST(KernelsOrder, ANaNScaleMeetsZeroCodes) {
  Int8Problem problem(6);
  for (std::size_t idx = 0; idx < 256; ++idx) problem.w[idx] = 0;
  problem.w_scale[7] = std::numeric_limits<float>::quiet_NaN();
  for (int table_idx = 0; const Kernels* table = kernels_at(table_idx); ++table_idx) {
    ASSERT_TRUE(std::isnan(problem.slow(*table, 0, 7)));
    problem.expect_slow_bits(*table, "NaN");
  }
}

TEST(AlignedBuffer, BeginsAtACacheLine) {
  for (const std::size_t count : {1, 3, 1000}) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(AlignedBuffer<float>(count).data()) % AlignedBuffer<float>::kAlignment, 0U);
  }
  EXPECT_EQ(AlignedBuffer<float>().data(), nullptr);
}

TEST(KernelsOrder, PeakMeasurementsMultiplyTwelveDifferentSums) {
  constexpr std::int64_t kRounds = 100;
  int parts = 4;
  for (int idx = 0; const Kernels* table = kernels_at(idx); ++idx) {
    const std::string_view isa = table->isa;
    if (isa != "amx") parts = isa == "scalar" ? 4 : isa == "avx2" ? 2 : 1;  // amx has the loops of the table before it
    double sum = 0.0;
    for (int chain = 0; chain < 12; ++chain) {
      double value = 2.0 + 0.125 * chain;
      for (std::int64_t round = 0; round < kRounds * parts; ++round) value = value * 0.999 + 0.001;
      sum += value;
    }
    EXPECT_NEAR(table->multiply_add(kRounds), sum, 1e-4 * sum) << isa;
    EXPECT_EQ(table->multiply_add_int8(kRounds), 66 + 12 * 4 * kRounds * parts) << isa;
    const TileKernels* tiles = table->tiles;
    if (tiles == nullptr || tiles->multiply_add_int16 == nullptr) continue;
    EXPECT_EQ(tiles->multiply_add_int16(kRounds), 66 + 12 * 2 * kRounds * parts) << isa;
  }
}

}  // namespace
}  // namespace meshseek::cpu

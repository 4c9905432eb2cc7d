#include "ops/cpu/kernels.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "tensor/block_float.hpp"

namespace meshseek::cpu {
namespace {

constexpr double kEpsilon = std::numeric_limits<float>::epsilon() / 2.0;

/// The tables that this machine can run; scalar is always among them.
std::vector<const Kernels*> tables() {
  std::vector<const Kernels*> result;
  for (int idx = 0; const Kernels* table = kernels_at(idx); ++idx) result.push_back(table);
  return result;
}

std::vector<float> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(generator);
  return values;
}

std::vector<std::int8_t> random_codes(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int> code(-127, 127);
  std::vector<std::int8_t> values(static_cast<std::size_t>(count));
  for (std::int8_t& value : values) value = static_cast<std::int8_t>(code(generator));
  return values;
}

/// Random bytes as tiles; the first exponents go through all values in turn.
std::vector<std::uint8_t> random_tiles(std::int64_t tile_size, std::int64_t num_tiles, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tile_size * num_tiles));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(generator());
  for (std::int64_t idx = 0; idx < num_tiles * 64; ++idx)
    bytes[static_cast<std::size_t>(idx / 64 * tile_size + idx % 64)] = static_cast<std::uint8_t>(seed + static_cast<unsigned>(idx));
  return bytes;
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

TEST(Kernels, TilesAreDecodedToTheBitsOfTheTileDecoder) {
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    for (unsigned seed = 0; seed < 256; seed += 16) {
      const std::vector<std::uint8_t> tiles = random_tiles(tile_bytes(dtype), 3, seed);
      for (const auto& [first_row, num_rows] : {std::pair{0, 32}, {5, 1}, {15, 2}, {16, 16}, {31, 1}}) {
        for (const Kernels* table : tables()) {
          std::vector<float> out(static_cast<std::size_t>(num_rows * 100), -7.0F);
          (dtype == DataType::bfloat8_b ? table->decode_b8 : table->decode_b4)({tiles.data(), 3, first_row, num_rows, out.data(), 100});
          for (std::int64_t idx = 0; idx < num_rows * 100; ++idx) {
            float row[32] = {};
            const std::int64_t col = idx % 100;
            if (col < 96) {
              const auto* tile = reinterpret_cast<const std::byte*>(tiles.data()) + col / 32 * tile_bytes(dtype);
              decode_tile_row(tile, dtype, first_row + idx / 100, row);
            }
            const float expected = col < 96 ? row[col % 32] : -7.0F;
            ASSERT_EQ(std::bit_cast<std::uint32_t>(out[static_cast<std::size_t>(idx)]), std::bit_cast<std::uint32_t>(expected))
                << table->isa << " seed " << seed << " row " << first_row + idx / 100 << " col " << col;
          }
        }
      }
    }
  }
}

/// Magnitudes times scales are the values, or zero below the normal scales; Inf and NaN make their block NaN.
TEST(Kernels, TilesArePackedAsMagnitudesAndScales) {
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
    const int bits = dtype == DataType::bfloat8_b ? 7 : 3;
    for (unsigned seed = 0; seed < 256; seed += 16) {
      const std::vector<std::uint8_t> tiles = random_tiles(tile_bytes(dtype), 2, seed);
      for (const Kernels* table : tables()) {
        for (const bool lower : {false, true}) {
          std::vector<std::uint8_t> packed(4 * 256 + 1, 77);
          std::vector<float> scales(4 * 16 + 1, -7.0F);
          (dtype == DataType::bfloat8_b ? table->pack_b8 : table->pack_b4)({tiles.data(), 2, lower, packed.data(), scales.data()});
          EXPECT_EQ(packed.back(), 77);
          EXPECT_EQ(scales.back(), -7.0F);
          for (std::int64_t block = 0; block < 4; ++block) {
            for (std::int64_t row = 0; row < 16; ++row) {
              float values[32] = {};
              const std::uint8_t* tile = tiles.data() + block / 2 * tile_bytes(dtype);
              decode_tile_row(reinterpret_cast<const std::byte*>(tile), dtype, row + (lower ? 16 : 0), values);
              const int exponent = tile[(lower ? 32 : 0) + block % 2 * 16 + row];
              const float scale = scales[static_cast<std::size_t>(block * 16 + row)];
              bool finite = true;
              for (std::int64_t idx = 0; idx < 16; ++idx) finite = finite && std::isfinite(values[block % 2 * 16 + idx]);
              ASSERT_EQ(std::isnan(scale), !finite) << table->isa << " exponent " << exponent;
              for (std::int64_t idx = 0; idx < 16 && finite; ++idx) {
                const int magnitude = packed[static_cast<std::size_t>(block * 256 + idx / 4 * 64 + row * 4 + idx % 4)] - table->int8_offset;
                const int value = table->int8_offset == 0 ? static_cast<std::int8_t>(magnitude) : magnitude;
                ASSERT_EQ(static_cast<float>(value) * scale, exponent < bits ? 0.0F : values[block % 2 * 16 + idx])
                    << table->isa << " exponent " << exponent;
              }
            }
          }
        }
      }
    }
  }
}

/// The rounding of std::nearbyint, block by block, whatever the values.
TEST(Kernels, ActivationsAreQuantisedAlikeByEveryInstructionSet) {
  std::vector<float> values = random_values(16 * 9, 21);
  std::fill_n(values.begin() + 16, 16, 0.0F);
  for (std::size_t idx = 32; idx < 48; ++idx) values[idx] = static_cast<float>(idx - 40) * 0.5F;  // ties
  values[50] = std::numeric_limits<float>::infinity();
  values[70] = std::nanf("");
  for (std::size_t idx = 80; idx < 96; ++idx) values[idx] *= 1e-43F;
  for (std::size_t idx = 96; idx < 112; ++idx) values[idx] *= 1e38F;
  for (const Kernels* table : tables()) {
    std::vector<std::int8_t> codes(values.size());
    std::vector<float> scales(values.size() / 16);
    std::vector<std::int32_t> sums(values.size() / 16);
    table->quantise(values.data(), static_cast<std::int64_t>(values.size()), codes.data(), scales.data(), sums.data());
    for (std::size_t block = 0; block < scales.size(); ++block) {
      float amax = 0.0F;
      bool finite = true;
      for (std::size_t idx = block * 16; idx < block * 16 + 16; ++idx) {
        amax = std::max(amax, std::abs(values[idx]));
        finite = finite && std::isfinite(values[idx]);
      }
      const float scale = finite ? amax / 127.0F : std::nanf("");
      ASSERT_EQ(std::isnan(scales[block]), !finite) << table->isa;
      if (finite) {
        ASSERT_EQ(scales[block], scale) << table->isa;
      }
      std::int32_t sum = 0;
      for (std::size_t idx = block * 16; idx < block * 16 + 16; ++idx) {
        const float code = scale > 0.0F ? std::nearbyint(std::clamp(values[idx] / scale, -127.0F, 127.0F)) : 0.0F;
        ASSERT_EQ(codes[idx], static_cast<std::int8_t>(code)) << table->isa << " " << idx;
        sum += static_cast<std::int32_t>(code);
      }
      ASSERT_EQ(sums[block], sum) << table->isa;
    }
  }
}

TEST(Kernels, Bfloat16IsRoundedAsToBf16Rounds) {
  std::mt19937 generator(4);
  std::vector<float> values = {0.0F,
                               -0.0F,
                               std::numeric_limits<float>::infinity(),
                               std::nanf(""),
                               std::bit_cast<float>(0x3F808000U),
                               std::bit_cast<float>(0x3F818000U),
                               std::bit_cast<float>(0x7F7FFFFFU),
                               std::bit_cast<float>(0x7F800001U)};
  for (int idx = 0; idx < 1000; ++idx) values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(generator())));
  for (const Kernels* table : tables()) {
    std::vector<std::uint16_t> bits(values.size());
    table->narrow_bf16(values.data(), static_cast<std::int64_t>(values.size()), bits.data());
    std::vector<float> rounded = values;
    table->round_bf16(rounded.data(), static_cast<std::int64_t>(values.size()));
    for (std::size_t idx = 0; idx < values.size(); ++idx) {
      ASSERT_EQ(bits[idx], to_bf16(values[idx]).bits) << table->isa;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(rounded[idx]), std::bit_cast<std::uint32_t>(round_to_bf16(values[idx]))) << table->isa;
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu

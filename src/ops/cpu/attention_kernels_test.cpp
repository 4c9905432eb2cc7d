// The kernels of attention that read bf16 rows where they lie have the bits of weighted_sum over the same values as float32.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {
namespace {

/// The same values as bf16 and as float32.
struct Values {
  Values(std::int64_t count, unsigned seed) : halves(static_cast<std::size_t>(count)), floats(halves.size()) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (float& value : floats) value = normal(generator);
    kernels_at(0)->narrow_bf16(floats.data(), count, halves.data());
    kernels_at(0)->widen_bf16(halves.data(), count, floats.data());
  }
  std::vector<std::uint16_t> halves;
  std::vector<float> floats;
};

TEST(AttentionKernels, SumsOfBf16RowsHaveTheBitsOfSumsOfFloats) {
  constexpr std::int64_t kMostX = 29, kRows = 37, kStride = 136;
  const Values rows(kRows * kStride, 1);
  const Values weights(kRows * kMostX, 2);
  for (int idx = 0; const Kernels* table = kernels_at(idx); ++idx) {
    for (const std::int64_t cols : {32, 64, 96}) {
      for (std::int64_t num_x = 1; num_x <= kMostX; ++num_x) {
        for (const bool adds : {false, true}) {
          std::vector<float> expected(kMostX * kStride, 0.5F);
          std::vector<float> actual = expected;
          const auto sum = [&](const auto* values, std::vector<float>& out, const auto& kernel) {
            kernel({.weights = weights.floats.data(),
                    .weights_stride = 1,
                    .weights_step = kMostX,
                    .num_x = num_x,
                    .rows = values,
                    .row_stride = kStride,
                    .num_rows = kRows,
                    .cols = cols,
                    .out = out.data(),
                    .out_stride = kStride,
                    .adds = adds,
                    .ahead = 3 * kStride});
          };
          sum(rows.floats.data(), expected, table->weighted_sum);
          sum(rows.halves.data(), actual, table->weighted_sum_bf16);
          ASSERT_EQ(actual, expected) << table->isa << ", " << cols << " columns, " << num_x << " rows of results";
        }
      }
    }
  }
}

/// Scores by weighted_sum.
std::vector<float> slow_scores(const Kernels& table, const KeyProducts& p, const std::vector<float>& keys, std::vector<float> scores) {
  table.weighted_sum({.weights = keys.data(),
                      .weights_stride = p.key_stride,
                      .num_x = p.num_keys,
                      .rows = p.queries,
                      .row_stride = p.num_queries,
                      .num_rows = p.k,
                      .cols = p.num_queries,
                      .out = scores.data(),
                      .out_stride = p.num_queries,
                      .adds = p.adds});
  return scores;
}

TEST(AttentionKernels, ScoresHaveTheBitsOfWeightedSums) {
  constexpr std::int64_t kStride = 70, kMostQueries = 128;
  const Values keys(kMostKeys * kStride, 3);
  const Values queries(kMostKeyValues * kMostQueries, 4);
  for (int idx = 0; const Kernels* table = kernels_at(idx); ++idx) {
    for (const std::int64_t num_queries : {16, 32, 80, 128}) {
      for (const std::int64_t k : {1, 17, 64}) {
        for (std::int64_t num_keys = 1; num_keys <= kMostKeys; ++num_keys) {
          const std::vector<float> before(static_cast<std::size_t>(kMostKeys * num_queries), 0.25F);
          for (const bool is_bf16 : {false, true}) {
            std::vector<float> scores = before;
            const KeyProducts products = {.keys = is_bf16 ? nullptr : keys.floats.data(),
                                          .bf16_keys = is_bf16 ? keys.halves.data() : nullptr,
                                          .key_stride = kStride,
                                          .num_keys = num_keys,
                                          .k = k,
                                          .queries = queries.floats.data(),
                                          .num_queries = num_queries,
                                          .scores = scores.data(),
                                          .adds = k > 1};
            table->multiply_keys(products);
            ASSERT_EQ(scores, slow_scores(*table, products, keys.floats, before)) << table->isa << ", " << num_keys << " keys of " << k;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu

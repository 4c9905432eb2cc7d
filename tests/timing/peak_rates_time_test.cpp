// That the peaks of the calibration are made of products that were all multiplied. Runs alone: it compares times.
#include <gtest/gtest.h>

#include <cstdio>

#include "ops/cpu/kernels_tables.hpp"
#include "tests/support/best_time.hpp"

namespace meshseek::cpu {
namespace {

using testing::best_time;

// With AVX2 a compiler can multiply once and add the result twelve times: additions have more units than products.
TEST(PeakRatesTime, IntegersOfAvx2TakeTheTimeOfTheirMultiplications) {
  if (__builtin_cpu_supports("avx2") == 0 || __builtin_cpu_supports("fma") == 0) return;  // nothing to measure
  constexpr std::int64_t kRounds = 200'000;
  const double fp32 = best_time(15, [] { avx2::kTable.multiply_add(kRounds); });
  const double int8 = best_time(15, [] { avx2::kTable.multiply_add_int8(kRounds); });
  const double int16 = best_time(15, [] { avx2::kPanelKernels.multiply_add_int16(kRounds); });
  std::printf("as many instructions with products: int8 / float32 x %.2f, int16 / float32 x %.2f\n", int8 / fp32, int16 / fp32);
  EXPECT_GT(int8, 1.5 * fp32) << "two multiplications, a sign and an addition";
  EXPECT_GT(int16, 0.8 * fp32) << "a multiplication, and an addition that has other units";
}

}  // namespace
}  // namespace meshseek::cpu

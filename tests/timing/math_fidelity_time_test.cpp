// That LoFi products are worth their rounding. Runs alone: it compares times.
#include <gtest/gtest.h>

#include <cstdio>

#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"
#include "tests/support/best_time.hpp"

namespace meshseek {
namespace {

using namespace testing;

TEST(MathFidelityTime, LoFiTakesLessThanHiFi2) {
  // One thread, so that a busy machine slows both sides alike; a ratio far from 1 (0.4 with AVX-512).
  Device device(1);
  constexpr std::int64_t kSide = 1024;
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(random_values(kSide * kSide, 1), {kSide, kSide}, DataType::bfloat8_b, Layout::tile);
  const Tensor x = random_activation({128, kSide}, 2, device);
  const auto time_of = [&](MathFidelity fidelity) {
    cfg.compute_kernel_config.math_fidelity = fidelity;
    return best_time(7, [&] { linear(x, cfg); });
  };
  const double hifi2 = time_of(MathFidelity::HiFi2);
  const double lofi = time_of(MathFidelity::LoFi);
  std::printf("LoFi / HiFi2: time x %.2f\n", lofi / hifi2);
  EXPECT_LT(lofi, 0.95 * hifi2);
}

}  // namespace
}  // namespace meshseek

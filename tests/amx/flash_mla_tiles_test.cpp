// Attention on tiles, which are emulated here: the bound of ops/cpu/tile_attention.hpp, and that fidelity and heads say when.
#include <cmath>
#include <limits>

#include "ops/cpu/tile_kernels.hpp"
#include "tests/support/attention_problems.hpp"

namespace meshseek {
namespace {

using namespace testing;
using reference::AttentionShape;

constexpr double kEpsilon = 0x1p-24;
constexpr RunOptions kTiles = {.fidelity = MathFidelity::HiFi2};

Problem rounded(Problem p) {
  for (std::vector<float>* values : {&p.q, &p.k_nope, &p.v, &p.q_latent, &p.latents, &p.k_rope}) {
    for (float& value : *values) value = round_to_bf16(value);
  }
  return p;
}

/// The bound with |v| <= largest_value and sum |q k| <= score_magnitude / scale.
double bound(const AttentionShape& s, std::int64_t key_dim, double score_magnitude, double largest_value) {
  const double score_error = cpu::tile_roundings(key_dim) * kEpsilon * score_magnitude;
  const auto num_blocks = static_cast<double>(s.num_tokens / cpu::kTileTokens + 1);
  return (std::exp(2.0 * score_error) * (1.0 + 0x1p-9) * (1.0 + (40.0 + 4.0 * num_blocks) * kEpsilon) - 1.0) * largest_value;
}

void expect_near(const Tensor& y, const std::vector<double>& expected, double tolerance) {
  const std::vector<float> values = to_float_vector(y);
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t idx = 0; idx < values.size(); ++idx) ASSERT_NEAR(values[idx], expected[idx], tolerance) << "at " << idx;
}

const std::vector<AttentionShape> kShapes = {
    {.num_queries = 1, .num_tokens = 1, .heads = 16, .nope = 16, .rope = 16, .value_dim = 16, .rank = 32},
    {.num_queries = 1, .num_tokens = 70, .heads = 17, .nope = 20, .rope = 8, .value_dim = 28, .rank = 24},
    {.num_queries = 7, .num_tokens = 7, .heads = 16, .nope = 32, .rope = 16, .value_dim = 32, .rank = 48},
    {.num_queries = 33, .num_tokens = 65, .heads = 16, .nope = 17, .rope = 2, .value_dim = 33, .rank = 40},
    {.num_queries = 5, .num_tokens = 391, .heads = 16, .nope = 128, .rope = 64, .value_dim = 128, .rank = 192},
    {.num_queries = 140, .num_tokens = 140, .heads = 16, .nope = 16, .rope = 16, .value_dim = 64, .rank = 16},
};

TEST(FlashMlaOnTiles, BothFormsAreWithinTheirBound) {
  Device device(2);
  for (const AttentionShape& s : kShapes) {
    const Problem p = make_problem(s), exact = rounded(p);
    const double naive_norms =
        largest_norm(exact.q, s.nope + s.rope) * std::hypot(largest_norm(exact.k_nope, s.nope), largest_norm(exact.k_rope, s.rope));
    expect_near(run_naive(p, 0, s.num_queries, device, kTiles),
                reference::naive_attention(s, exact.q, exact.k_nope, exact.k_rope, exact.v, p.scale),
                bound(s, s.nope + s.rope, p.scale * naive_norms, largest(p.v) * 1.01));
    const double norms = largest_norm(exact.q_latent, s.rank) * largest_norm(exact.latents, s.rank) +
                         largest_norm(exact.q, s.nope + s.rope) * largest_norm(exact.k_rope, s.rope);
    expect_near(run_absorbed(p, 0, s.num_queries, device, kTiles),
                reference::absorbed_attention(s, exact.q_latent, exact.q, exact.latents, exact.k_rope, p.scale),
                bound(s, s.rank + s.rope, p.scale * norms, largest(p.latents) * 1.01));
  }
}

/// Without keys, weights are those of equal scores; one token's value that is left out is far more than the bound.
TEST(FlashMlaOnTiles, TheBoundNoticesAMissingToken) {
  const AttentionShape s = {.num_queries = 1, .num_tokens = 100, .heads = 16, .nope = 16, .rope = 16, .value_dim = 16, .rank = 32};
  EXPECT_LT(bound(s, 32, 30.0, 1.0), 0.5 / static_cast<double>(s.num_tokens));
}

TEST(FlashMlaOnTiles, ACacheOfBf16IsReadInPlaceWithTheSameBits) {
  Device device(2);
  const AttentionShape s = {.num_queries = 3, .num_tokens = 300, .heads = 16, .nope = 32, .rope = 32, .value_dim = 32, .rank = 64};
  const Problem p = make_problem(s);
  const Tensor copied = run_absorbed(p, 0, s.num_queries, device, kTiles);
  EXPECT_EQ(bits_of(run_absorbed(p, 0, s.num_queries, device, {.fidelity = MathFidelity::HiFi2, .cache = DataType::bfloat16})),
            bits_of(copied));
}

TEST(FlashMlaOnTiles, ChunksAndSingleTokensHaveTheBitsOfOnePrefill) {
  Device device(2);
  const AttentionShape s = {.num_queries = 37, .num_tokens = 140, .heads = 16, .nope = 20, .rope = 8, .value_dim = 28, .rank = 24};
  const Problem p = make_problem(s);
  for (const auto run : {&run_naive, &run_absorbed}) {
    const Tensor whole = run(p, 0, s.num_queries, device, kTiles);
    for (const std::int64_t chunk : {1, 3, 16}) {
      for (std::int64_t begin = 0; begin < s.num_queries; begin += chunk) {
        const std::int64_t end = std::min(begin + chunk, s.num_queries);
        ASSERT_EQ(bits_of(run(p, begin, end, device, kTiles)), bits_of(whole.slice_rows(begin, end))) << chunk << " from " << begin;
      }
    }
  }
}

TEST(FlashMlaOnTiles, ThreadsDoNotChangeABit) {
  const AttentionShape s = {.num_queries = 5, .num_tokens = 540, .heads = 16, .nope = 20, .rope = 8, .value_dim = 28, .rank = 24};
  const Problem p = make_problem(s);
  for (const auto run : {&run_naive, &run_absorbed}) {
    Device one(1);
    const std::vector<std::byte> expected = bits_of(run(p, 0, s.num_queries, one, kTiles));
    for (const std::size_t num_threads : {2U, 3U}) {
      Device many(num_threads);
      EXPECT_EQ(bits_of(run(p, 0, s.num_queries, many, kTiles)), expected) << num_threads;
    }
  }
}

TEST(FlashMlaOnTiles, QueriesDoNotSeeLaterTokensEvenWhenThoseAreNaN) {
  Device device(2);
  const AttentionShape s = {.num_queries = 8, .num_tokens = 8, .heads = 16, .nope = 16, .rope = 16, .value_dim = 20, .rank = 32};
  const Problem clean = make_problem(s);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (std::int64_t poisoned = 1; poisoned < s.num_tokens; ++poisoned) {
      Problem p = clean;
      std::fill(p.k_nope.begin() + poisoned * s.heads * s.nope, p.k_nope.end(), bad);
      std::fill(p.v.begin() + poisoned * s.heads * s.value_dim, p.v.end(), bad);
      std::fill(p.latents.begin() + poisoned * s.rank, p.latents.end(), bad);
      for (const auto run : {&run_naive, &run_absorbed}) {
        const Tensor y = run(p, 0, s.num_queries, device, kTiles);
        EXPECT_EQ(bits_of(y.slice_rows(0, poisoned)), bits_of(run(clean, 0, s.num_queries, device, kTiles).slice_rows(0, poisoned)));
        EXPECT_FALSE(std::isfinite(to_float_vector(y.slice_rows(poisoned, poisoned + 1))[0]));
      }
    }
  }
}

TEST(FlashMlaOnTiles, FidelityAndHeadsSayWhetherTilesAreUsed) {
  Device device(2);
  for (const std::int64_t heads : {15, 16}) {
    const AttentionShape s = {.num_queries = 3, .num_tokens = 40, .heads = heads, .nope = 16, .rope = 16, .value_dim = 20, .rank = 32};
    const Problem p = make_problem(s);
    EXPECT_NE(bits_of(run_naive(p, 0, 3, device)), bits_of(run_naive(p, 0, 3, device, kTiles)));
    EXPECT_EQ(bits_of(run_absorbed(p, 0, 3, device)) == bits_of(run_absorbed(p, 0, 3, device, kTiles)), heads < 16) << heads;
  }
}

}  // namespace
}  // namespace meshseek

#include "ops/flash_mla.hpp"

#include <cmath>
#include <limits>

#include "ops/concat.hpp"
#include "ops/linear.hpp"
#include "reference/attention.hpp"
#include "tests/support/attention_problems.hpp"

namespace meshseek {
namespace {

using namespace testing;
using reference::AttentionShape;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon() / 2.0;

/// Scores are sums of chunks of 64 products: they err by (64 + k / 64 + 8) roundings of sum |q k| <= |q| |k|; probabilities by twice that, the sum over S
/// tokens by S + 8 roundings.
double bound(std::int64_t key_dim, std::int64_t num_tokens, double score_magnitude, double largest_value) {
  const double score_error =
      static_cast<double>(std::min<std::int64_t>(key_dim, 64) + ceil_div(key_dim, 64) + 8) * kEpsilon * score_magnitude;
  return (2.0 * score_error + static_cast<double>(num_tokens + 8) * kEpsilon) * largest_value;
}

void expect_near(const Tensor& y, const std::vector<double>& expected, double tolerance) {
  const std::vector<float> values = to_float_vector(y);
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t idx = 0; idx < values.size(); ++idx) ASSERT_NEAR(values[idx], expected[idx], tolerance) << "at " << idx;
}

const std::vector<AttentionShape> kShapes = {
    {.num_queries = 1, .num_tokens = 1, .heads = 1, .nope = 16, .rope = 16, .value_dim = 16, .rank = 32},
    {.num_queries = 1, .num_tokens = 70, .heads = 5, .nope = 20, .rope = 8, .value_dim = 28, .rank = 24},
    {.num_queries = 7, .num_tokens = 7, .heads = 3, .nope = 32, .rope = 16, .value_dim = 32, .rank = 48},
    {.num_queries = 33, .num_tokens = 65, .heads = 4, .nope = 17, .rope = 2, .value_dim = 33, .rank = 40},
    {.num_queries = 64, .num_tokens = 64, .heads = 2, .nope = 128, .rope = 64, .value_dim = 128, .rank = 64},
    {.num_queries = 3, .num_tokens = 391, .heads = 2, .nope = 16, .rope = 8, .value_dim = 20, .rank = 24},  // several pieces of the context
};

TEST(FlashMla, NaiveFormAgreesWithTheFloat64Reference) {
  Device device(2);
  for (const AttentionShape& s : kShapes) {
    const Problem p = make_problem(s);
    const double norms = largest_norm(p.q, s.nope + s.rope) * (largest_norm(p.k_nope, s.nope) + largest_norm(p.k_rope, s.rope));
    expect_near(run_naive(p, 0, s.num_queries, device), reference::naive_attention(s, p.q, p.k_nope, p.k_rope, p.v, p.scale),
                bound(s.nope + s.rope, s.num_tokens, p.scale * norms, largest(p.v)));
  }
}

TEST(FlashMla, AbsorbedFormAgreesWithTheFloat64Reference) {
  Device device(2);
  for (const AttentionShape& s : kShapes) {
    const Problem p = make_problem(s);
    const double norms = largest_norm(p.q_latent, s.rank) * largest_norm(p.latents, s.rank) +
                         largest_norm(p.q, s.nope + s.rope) * largest_norm(p.k_rope, s.rope);
    expect_near(run_absorbed(p, 0, s.num_queries, device), reference::absorbed_attention(s, p.q_latent, p.q, p.latents, p.k_rope, p.scale),
                bound(s.rank + s.rope, s.num_tokens, p.scale * norms, largest(p.latents)));
  }
}

/// The projections that turn one form into the other.
LinearConfig per_head(std::span<const float> values, const Shape& shape, bool transpose_b) {
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(values, shape);
  cfg.transpose_b = transpose_b;
  cfg.compute_kernel_config.math_fidelity = MathFidelity::HiFi4;
  return cfg;
}

TEST(FlashMla, BothFormsGiveTheSameAttention) {
  Device device(2);
  const AttentionShape s = {.num_queries = 9, .num_tokens = 30, .heads = 3, .nope = 20, .rope = 8, .value_dim = 28, .rank = 24};
  Problem p = make_problem(s);
  const std::vector<float> w_uk = random_values(s.heads * s.nope * s.rank, 10, 0.2F);
  const std::vector<float> w_uv = random_values(s.heads * s.value_dim * s.rank, 11, 0.2F);
  const LatentCache cache = cache_of(p, device);
  const Tensor latents = cached_latents(cache, DataType::float32);
  const Tensor q = activation(p.q, {s.num_queries, s.heads, s.nope + s.rope}, device);

  const Tensor k_nope = linear(latents, per_head(w_uk, {s.heads, s.nope, s.rank}, true));
  const Tensor v = linear(latents, per_head(w_uv, {s.heads, s.value_dim, s.rank}, true));
  const Tensor naive = flash_mla_prefill(q, k_nope, v, cache, config_of(p, MlaForm::naive));

  const Tensor q_latent = linear(slice_columns(q, 0, s.nope), per_head(w_uk, {s.heads, s.nope, s.rank}, false));
  const Tensor seen = flash_mla_decode(q_latent, q, cache, config_of(p, MlaForm::absorbed));
  const Tensor absorbed = linear(seen, per_head(w_uv, {s.heads, s.value_dim, s.rank}, true));

  const std::vector<float> a = to_float_vector(naive), b = to_float_vector(absorbed);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t idx = 0; idx < a.size(); ++idx) EXPECT_NEAR(a[idx], b[idx], 1e-5 * largest(a));
}

TEST(FlashMla, ChunksAndSingleTokensHaveTheBitsOfOnePrefill) {
  Device device(2);
  const AttentionShape s = {.num_queries = 37, .num_tokens = 140, .heads = 3, .nope = 20, .rope = 8, .value_dim = 28, .rank = 24};
  const Problem p = make_problem(s);
  for (const auto run : {&run_naive, &run_absorbed}) {
    const Tensor whole = run(p, 0, s.num_queries, device, {});
    for (const std::int64_t chunk : {1, 2, 3, 5, 16}) {
      for (std::int64_t begin = 0; begin < s.num_queries; begin += chunk) {
        const std::int64_t end = std::min(begin + chunk, s.num_queries);
        ASSERT_EQ(bits_of(run(p, begin, end, device, {})), bits_of(whole.slice_rows(begin, end)))
            << chunk << " from " << begin;
      }
    }
  }
}

TEST(FlashMla, ThreadsDoNotChangeABit) {
  const AttentionShape s = {.num_queries = 37, .num_tokens = 540, .heads = 3, .nope = 20, .rope = 8, .value_dim = 28, .rank = 24};
  const Problem p = make_problem(s);
  for (const auto run : {&run_naive, &run_absorbed}) {
    Device one(1);
    const std::vector<std::byte> expected = bits_of(run(p, 0, s.num_queries, one, {}));
    for (const std::size_t num_threads : {2U, 3U, 5U, 7U}) {
      Device many(num_threads);
      EXPECT_EQ(bits_of(run(p, 0, s.num_queries, many, {})), expected) << num_threads;
    }
  }
}

TEST(FlashMla, QueriesDoNotSeeLaterTokensEvenWhenThoseAreNaN) {
  Device device(2);
  const AttentionShape s = {.num_queries = 8, .num_tokens = 8, .heads = 2, .nope = 16, .rope = 16, .value_dim = 20, .rank = 32};
  const Problem clean = make_problem(s);
  for (std::int64_t poisoned = 1; poisoned < s.num_tokens; ++poisoned) {
    Problem p = clean;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::fill(p.k_nope.begin() + poisoned * s.heads * s.nope, p.k_nope.end(), nan);
    std::fill(p.v.begin() + poisoned * s.heads * s.value_dim, p.v.end(), nan);
    std::fill(p.latents.begin() + poisoned * s.rank, p.latents.end(), nan);
    for (const auto run : {&run_naive, &run_absorbed}) {
      const Tensor y = run(p, 0, s.num_queries, device, {});
      EXPECT_EQ(bits_of(y.slice_rows(0, poisoned)),
                bits_of(run(clean, 0, s.num_queries, device, {}).slice_rows(0, poisoned)));
      EXPECT_TRUE(std::isnan(to_float_vector(y.slice_rows(poisoned, poisoned + 1))[0]));
    }
  }
}

TEST(FlashMla, LargeScoresDoNotOverflow) {
  Device device(1);
  const AttentionShape s = {.num_queries = 6, .num_tokens = 6, .heads = 1, .nope = 16, .rope = 16, .value_dim = 16, .rank = 16};
  Problem p = make_problem(s);
  p.scale = 1e4;  // the best token takes all
  for (const auto run : {&run_naive, &run_absorbed}) {
    for (const float value : to_float_vector(run(p, 0, s.num_queries, device, {}))) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST(FlashMla, ResultIsRoundedOnceToTheConfiguredType) {
  Device device(1);
  const Problem p = make_problem(kShapes[1]);
  for (const auto run : {&run_naive, &run_absorbed}) {
    const std::vector<float> exact = to_float_vector(run(p, 0, 1, device, {}));
    const Tensor y = run(p, 0, 1, device, {.dtype = DataType::bfloat16});
    ASSERT_EQ(y.dtype(), DataType::bfloat16);
    for (std::size_t idx = 0; idx < exact.size(); ++idx) EXPECT_EQ(y.data<bf16>()[idx], to_bf16(exact[idx]));
  }
}

TEST(FlashMla, LogsItsForm) {
  Device device(1);
  const Problem p = make_problem(kShapes[0]);
  std::vector<std::string> log;
  device.set_observer([&](const OpRecord& record) {
    log.push_back(std::string(record.op) + ": " + record.detail + (record.state.empty() ? "" : " " + record.state));
  });
  run_naive(p, 0, 1, device);
  run_absorbed(p, 0, 1, device);
  EXPECT_THAT(log, ::testing::ElementsAre("update_cache: c_kv [1, 32] at 0", "flash_mla_prefill: naive q [1, 1, 32] context 1",
                                          "update_cache: c_kv [1, 32] at 0", "flash_mla_decode: absorbed q [1, 1, 32] context 1"));
}

TEST(FlashMla, RefusesLoFi) {
  Device device(1);
  const Problem p = make_problem(kShapes[0]);
  for (const auto run : {&run_naive, &run_absorbed}) {
    EXPECT_THAT(message_of<ConfigError>([&] { run(p, 0, 1, device, {.fidelity = MathFidelity::LoFi}); }),
                ::testing::EndsWith("compute_kernel_config.math_fidelity] LoFi; attention has no int8 products, expected HiFi2 or HiFi4"));
  }
}

TEST(FlashMla, RefusesTheOtherFormAndShapesThatDoNotFit) {
  Device device(1);
  const AttentionShape s = {.num_queries = 2, .num_tokens = 3, .heads = 2, .nope = 4, .rope = 2, .value_dim = 5, .rank = 6};
  const Problem p = make_problem(s);
  const LatentCache cache = cache_of(p, device);
  const Tensor q = random_activation({2, 2, 6}, 1, device);
  const Tensor k = random_activation({3, 2, 4}, 1, device);
  const Tensor v = random_activation({3, 2, 5}, 1, device);
  EXPECT_EQ(message_of<ConfigError>([&] { flash_mla_prefill(q, k, v, cache, {.form = MlaForm::absorbed}); }),
            "[flash_mla_prefill] the config asks for the absorbed form; expected naive");
  EXPECT_EQ(message_of<ConfigError>([&] { flash_mla_decode(q, q, cache, {.form = MlaForm::naive}); }),
            "[flash_mla_decode] the config asks for the naive form; expected absorbed");
  EXPECT_EQ(message_of<ShapeError>([&] { flash_mla_prefill(q, random_activation({2, 2, 4}, 1, device), v, cache, {}); }),
            "[flash_mla_prefill] q is [2, 2, 6], k_nope [2, 2, 4], v [3, 2, 5] with 3 cached tokens and rope dimension 2; expected [T, n, "
            "dn + dr], "
            "[S, n, dn], [S, n, dv]");
  EXPECT_EQ(
      message_of<ShapeError>([&] { flash_mla_decode(random_activation({2, 2, 7}, 1, device), q, cache, {.form = MlaForm::absorbed}); }),
      "[flash_mla_decode] q_latent is [2, 2, 7] and q [2, 2, 6] with 3 cached tokens of 6 + 2 values; expected [T, n, 6] and [T, n, "
      "dn + 2]");
  EXPECT_EQ(message_of<ShapeError>([&] { flash_mla_prefill(random_activation({4, 2, 6}, 1, device), k, v, cache, {}); }),
            "[flash_mla_prefill] 4 queries but the cache [6, 8] holds 3 tokens of rank 6; expected update_cache() first");
}

}  // namespace
}  // namespace meshseek

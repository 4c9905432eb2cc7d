#include "ops/rotary_embedding.hpp"

#include <cmath>

#include "ops/test_tensors.hpp"
#include "reference/goldens.hpp"
#include "reference/rope.hpp"

namespace meshseek {
namespace {

using namespace testing;

const Path kUnitGoldens = Path(MESHSEEK_SOURCE_DIR) / "tests" / "data" / "unit" / "unit.safetensors";
const std::vector<std::string> kConfigs = {"deepseek-v3", "kimi-k2-f32", "moonlight", "yarn-without-mscale"};

double cos_sin_factor(const std::string& name) { return name == "yarn-without-mscale" ? reference::yarn_mscale(40.0, 1.0) : 1.0; }

double worst(std::span<const float> actual, std::span<const double> expected) {
  double result = 0.0;
  for (std::size_t idx = 0; idx < expected.size(); ++idx) result = std::max(result, std::abs(double{actual[idx]} - expected[idx]));
  return result;
}

TEST(RotaryEmbedding, AgreesWithTheGoldensInBothPairingsUpToPosition131071) {
  const reference::Goldens goldens(kUnitGoldens);
  Device device(1);
  const std::vector<std::int64_t> positions = goldens.integers("rope.positions");
  ASSERT_EQ(positions.back(), 131071);
  for (const std::string& name : kConfigs) {
    const RopeTables tables = make_rope_tables(positions, goldens.doubles("inv_freq." + name), cos_sin_factor(name));
    for (const bool interleaved : {true, false}) {
      const Tensor x = activation(goldens.floats("rope.x"), goldens.shape("rope.x"), device);
      const std::vector<float> y = to_float_vector(rotary_embedding(x, tables, {.interleaved = interleaved}));
      EXPECT_LE(worst(y, goldens.doubles((interleaved ? "rope.interleaved." : "rope.half_split.") + name)), 1e-6) << name;
      EXPECT_GT(worst(y, goldens.doubles((interleaved ? "rope.half_split." : "rope.interleaved.") + name)), 0.5) << name;
    }
  }
}

TEST(RotaryEmbedding, NeedsFloat64Angles) {
  const reference::Goldens goldens(kUnitGoldens);
  const std::vector<std::int64_t> positions = {131071};
  const std::vector<double> inv_freq = goldens.doubles("inv_freq.deepseek-v3");
  const RopeTables tables = make_rope_tables(positions, inv_freq, 1.0);
  double float32_error = 0.0;
  for (std::size_t idx = 0; idx < inv_freq.size(); ++idx) {
    const double exact = std::cos(131071.0 * inv_freq[idx]);
    EXPECT_NEAR(tables.cos[idx], exact, 1e-7);
    float32_error = std::max(float32_error, std::abs(double{std::cos(131071.0F * static_cast<float>(inv_freq[idx]))} - exact));
  }
  EXPECT_GT(float32_error, 1e-3);  // what the goldens would notice
}

TEST(RotaryEmbedding, ReferenceYarnFrequenciesAgreeWithTheGoldens) {
  const reference::Goldens goldens(kUnitGoldens);
  const auto expect_equal = [&](const std::string& name, const std::vector<double>& actual) {
    const std::vector<double> expected = goldens.doubles("inv_freq." + name);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t idx = 0; idx < expected.size(); ++idx)
      EXPECT_NEAR(actual[idx], expected[idx], 1e-14 * expected[idx]) << name << " at " << idx;
  };
  expect_equal("moonlight", reference::plain_inv_freq(50000.0, 64));
  expect_equal("deepseek-v3", reference::yarn_inv_freq({.factor = 40.0}));
  expect_equal("kimi-k2-f32", reference::yarn_inv_freq({.theta = 50000.0, .factor = 32.0, .beta_fast = 1.0}));
  expect_equal("kimi-k2-f64", reference::yarn_inv_freq({.theta = 50000.0, .factor = 64.0, .beta_fast = 1.0}));
  expect_equal("yarn-low-equals-high", reference::yarn_inv_freq({.rotary_dim = 8, .factor = 4.0, .original_max_position_embeddings = 6.0}));
}

TEST(RotaryEmbedding, TurnsOnlyTheLastValuesInPlaceForEveryType) {
  Device device(1);
  constexpr std::int64_t kTokens = 5, kHeads = 3, kDim = 20, kRotary = 8;
  const std::vector<std::int64_t> positions = {0, 1, 77, 5000, 3};
  const std::vector<double> inv_freq = reference::plain_inv_freq(10000.0, kRotary);
  const RopeTables tables = make_rope_tables(positions, inv_freq, 1.25);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    for (const bool interleaved : {true, false}) {
      const Tensor x = random_activation({kTokens, kHeads, kDim}, 1, device, dtype);
      const std::vector<float> before = to_float_vector(x);
      std::vector<float> rope_part;
      for (std::size_t row = 0; row < kTokens * kHeads; ++row) {
        rope_part.insert(rope_part.end(), before.begin() + (static_cast<std::ptrdiff_t>(row) + 1) * kDim - kRotary,
                         before.begin() + (static_cast<std::ptrdiff_t>(row) + 1) * kDim);
      }
      const std::vector<double> expected = reference::rotate(rope_part, kHeads, positions, inv_freq, 1.25, interleaved);
      const Tensor y = rotary_embedding(x, tables, {.interleaved = interleaved});
      EXPECT_EQ(y.bytes().data(), x.bytes().data());
      const std::vector<float> after = to_float_vector(x);
      for (std::size_t idx = 0; idx < after.size(); ++idx) {
        const std::size_t col = idx % kDim;
        if (col < kDim - kRotary) {
          EXPECT_EQ(after[idx], before[idx]);
          continue;
        }
        const double wanted = expected[idx / kDim * kRotary + col - (kDim - kRotary)];
        EXPECT_NEAR(after[idx], wanted, dtype == DataType::float32 ? 1e-6 : 0x1p-8 * std::abs(wanted) + 1e-6);
      }
    }
  }
}

TEST(RotaryEmbedding, RefusesTablesOfAnotherLength) {
  Device device(1);
  const RopeTables tables = make_rope_tables(std::vector<std::int64_t>{0, 1, 2}, reference::plain_inv_freq(10000.0, 8), 1.0);
  EXPECT_EQ(message_of<ShapeError>([&] { rotary_embedding(random_activation({2, 1, 8}, 1, device), tables, {}); }),
            "[rotary_embedding] x is [2, 1, 8] but the tables hold 12 values of 8 rotated dimensions; expected x [T, heads, dim]");
  EXPECT_EQ(message_of<ShapeError>([&] { rotary_embedding(random_activation({3, 1, 6}, 1, device), tables, {}); }),
            "[rotary_embedding] x is [3, 1, 6] but the tables hold 12 values of 8 rotated dimensions; expected x [T, heads, dim]");
}

}  // namespace
}  // namespace meshseek

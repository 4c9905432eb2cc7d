#include "ops/rms_norm.hpp"

#include <cmath>
#include <tuple>

#include "ops/cpu/activations.hpp"
#include "ops/linear.hpp"
#include "ops/test_tensors.hpp"
#include "reference/goldens.hpp"
#include "reference/norm.hpp"

namespace meshseek {
namespace {

using namespace testing;

const Path kUnitGoldens = Path(MESHSEEK_SOURCE_DIR) / "tests" / "data" / "unit" / "unit.safetensors";

/// Largest relative difference; values that should be zero must be.
double worst_relative(std::span<const float> actual, std::span<const double> expected) {
  double worst = 0.0;
  for (std::size_t idx = 0; idx < expected.size(); ++idx) {
    if (expected[idx] == 0.0 && actual[idx] == 0.0F) continue;
    worst = std::max(worst, std::abs(double{actual[idx]} - expected[idx]) / std::abs(expected[idx]));
  }
  return worst;
}

TEST(RmsNorm, PiecesOnSeveralDevicesGiveTheWholeAndLeavePaddingZero) {
  Device device(1);
  constexpr std::int64_t kTokens = 5, kDim = 72, kPiece = 32;
  const std::vector<float> values = random_values(kTokens * kDim, 1);
  const RmsNormConfig cfg = {.weight = weight_slot(random_values(kDim, 2), {kDim}), .dtype = DataType::float32};
  const std::vector<float> whole = to_float_vector(rms_norm(activation(values, {kTokens, kDim}, device), cfg));
  std::vector<Tensor> pieces;
  std::vector<float> squares(kTokens * 3);
  for (std::int64_t piece = 0; piece < 3; ++piece) {
    std::vector<float> own(kTokens * kPiece);
    for (std::int64_t token = 0; token < kTokens; ++token) {
      for (std::int64_t col = 0; col < std::min(kPiece, kDim - piece * kPiece); ++col)
        own[static_cast<std::size_t>(token * kPiece + col)] = values[static_cast<std::size_t>(token * kDim + piece * kPiece + col)];
    }
    pieces.push_back(activation(own, {kTokens, kPiece}, device));
    const std::vector<float> sums = to_float_vector(rms_norm_pre_all_gather(pieces.back()));
    for (std::size_t token = 0; token < kTokens; ++token) squares[token * 3 + static_cast<std::size_t>(piece)] = sums[token];
  }
  const Tensor all = activation(squares, {kTokens, 3}, device);
  for (std::int64_t piece = 0; piece < 3; ++piece) {
    const std::vector<float> own =
        to_float_vector(rms_norm_post_all_gather(pieces[static_cast<std::size_t>(piece)], all, piece * kPiece, cfg));
    for (std::int64_t token = 0; token < kTokens; ++token) {
      for (std::int64_t col = 0; col < kPiece; ++col) {
        const std::int64_t at = piece * kPiece + col;
        const float expected = at < kDim ? whole[static_cast<std::size_t>(token * kDim + at)] : 0.0F;
        EXPECT_NEAR(own[static_cast<std::size_t>(token * kPiece + col)], expected, 1e-6F * std::abs(expected)) << token << ", " << at;
      }
    }
  }
}

TEST(RmsNorm, RefusesSumsOfSquaresOfOtherTokens) {
  Device device(1);
  const RmsNormConfig cfg = {.weight = weight_slot(random_values(8, 2), {8})};
  EXPECT_THAT(message_of([&] {
                rms_norm_post_all_gather(random_activation({2, 4}, 1, device), random_activation({3, 2}, 1, device), 0, cfg);
              }),
              ::testing::HasSubstr("x is [2, 4] but the sums of squares are [3, 2]"));
}

TEST(RmsNorm, AgreesWithTheGoldensForBothEpsilonsAndNoticesAnExchange) {
  const reference::Goldens goldens(kUnitGoldens);
  Device device(2);
  const Shape shape = goldens.shape("rms_norm.x");
  const Tensor x = activation(goldens.floats("rms_norm.x"), shape, device);
  RmsNormConfig cfg = {.weight = weight_slot(goldens.floats("rms_norm.weight"), {shape[1]}), .dtype = DataType::float32};
  for (const auto& [epsilon, name, other] :
       {std::tuple{1e-6, "rms_norm.eps_1e-6", "rms_norm.eps_1e-5"}, {1e-5, "rms_norm.eps_1e-5", "rms_norm.eps_1e-6"}}) {
    cfg.epsilon = epsilon;
    const std::vector<float> y = to_float_vector(rms_norm(x, cfg));
    EXPECT_EQ(y.size(), goldens.doubles(name).size());
    EXPECT_LE(worst_relative(y, goldens.doubles(name)), 1e-6);
    EXPECT_GT(worst_relative(y, goldens.doubles(other)), 1e-3);
  }
}

TEST(RmsNorm, AgreesWithTheReferenceForEveryTypeAndRank) {
  Device device(2);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    for (const DataType weight_dtype : {DataType::float32, DataType::bfloat16}) {
      const Tensor x = random_activation({3, 5, 33}, 1, device, dtype);
      const RmsNormConfig cfg = {.weight = weight_slot(random_values(33, 2), {33}, weight_dtype), .dtype = DataType::float32};
      const std::vector<float> x_values = to_float_vector(x);
      const Tensor y = rms_norm(x, cfg);
      ASSERT_EQ(y.shape(), x.shape());
      for (std::size_t row = 0; row < 15; ++row) {
        const auto expected =
            reference::rms_norm(std::span(x_values).subspan(row * 33, 33), to_float_vector(cfg.weight.tensor), cfg.epsilon);
        EXPECT_LE(worst_relative(y.data<float>().subspan(row * 33, 33), expected), 1e-6);
      }
    }
  }
}

TEST(RmsNorm, RoundsTheProductOnce) {
  Device device(1);
  const Tensor x = random_activation({4, 40}, 3, device, DataType::bfloat16);
  RmsNormConfig cfg = {.weight = weight_slot(random_values(40, 4), {40}), .dtype = DataType::float32};
  const std::vector<float> exact = to_float_vector(rms_norm(x, cfg));
  cfg.dtype = DataType::bfloat16;
  const Tensor y = rms_norm(x, cfg);
  ASSERT_EQ(y.dtype(), DataType::bfloat16);
  for (std::size_t idx = 0; idx < exact.size(); ++idx) EXPECT_EQ(y.data<bf16>()[idx], to_bf16(exact[idx]));
}

/// Of one row: codes, scales and corrections.
std::tuple<std::vector<std::int8_t>, std::vector<float>, std::vector<std::int32_t>> row_of(const Int8Rows& rows, std::int64_t row) {
  const std::int64_t groups = rows.groups_per_row();
  return {{rows.codes(row), rows.codes(row) + rows.padded_cols()},
          {rows.scales(row), rows.scales(row) + groups},
          {rows.corrections(row), rows.corrections(row) + groups}};
}

TEST(RmsNorm, QuantisesWhatItWrites) {
  Device device(2);
  for (const DataType dtype : {DataType::float32, DataType::bfloat16}) {
    const Tensor x = random_activation({19, 72}, 5, device);
    RmsNormConfig cfg = {.weight = weight_slot(random_values(72, 6), {72}), .dtype = dtype};
    const Tensor plain = rms_norm(x, cfg);
    cfg.quantise = true;
    const Tensor y = rms_norm(x, cfg);
    EXPECT_EQ(bits_of(y), bits_of(plain));
    EXPECT_TRUE(plain.int8_rows().empty());
    ASSERT_EQ(y.int8_rows().num_rows(), 19);
    const cpu::Activations expected(plain, 72, MathFidelity::LoFi, device, false);
    for (std::int64_t row = 0; row < 19; ++row) EXPECT_EQ(row_of(y.int8_rows(), row), row_of(expected.int8_rows(), row)) << row;
  }
}

TEST(RmsNorm, ProductsTakeTheInt8RowsAsTheyAre) {
  Device device(2);
  const Tensor x = random_activation({3, 64}, 7, device);
  const RmsNormConfig norm = {.weight = weight_slot(random_values(64, 8), {64}), .quantise = true};
  LinearConfig cfg = {.input_tensor_b = weight_slot(random_values(32 * 64, 9), {32, 64}, DataType::bfloat8_b, Layout::tile),
                      .compute_kernel_config = {.math_fidelity = MathFidelity::LoFi}};
  const Tensor normed = rms_norm(x, norm);
  const Tensor copy = activation(to_float_vector(normed), {3, 64}, device, DataType::bfloat16);
  EXPECT_EQ(bits_of(linear(normed, cfg)), bits_of(linear(copy, cfg)));
  for (std::int64_t group = 0; group < normed.int8_rows().groups_per_row(); ++group) normed.int8_rows().scales(1)[group] = 0.0F;
  const std::vector<float> y = to_float_vector(linear(normed, cfg));
  EXPECT_THAT(std::vector<float>(y.begin() + 32, y.begin() + 64), ::testing::Each(0.0F));
  EXPECT_THAT(std::vector<float>(y.begin() + 64, y.end()), ::testing::Contains(::testing::Ne(0.0F)));
  cfg.compute_kernel_config.math_fidelity = MathFidelity::HiFi2;
  EXPECT_EQ(bits_of(linear(normed, cfg)), bits_of(linear(copy, cfg)));
}

TEST(RmsNorm, SurvivesValuesWhoseSquaresOverflowFloat32) {
  Device device(1);
  const RmsNormConfig cfg = {.weight = weight_slot(std::vector<float>(4, 1.0F), {4}), .dtype = DataType::float32};
  const std::vector<float> y = to_float_vector(rms_norm(activation(std::vector<float>{3e30F, -3e30F, 3e30F, 3e30F}, {1, 4}, device), cfg));
  EXPECT_THAT(y, ::testing::Pointwise(::testing::FloatNear(1e-6F), {1.0F, -1.0F, 1.0F, 1.0F}));
}

TEST(RmsNorm, NamesBothShapesWhenTheWeightDoesNotFit) {
  Device device(1);
  const RmsNormConfig cfg = {.weight = weight_slot(random_values(5, 1), {5})};
  EXPECT_EQ(message_of<ShapeError>([&] {
              rms_norm(random_activation({2, 4}, 1, device), cfg);
            }),
            "[rms_norm] x is [2, 4] but the weight is [5]; expected [4]");
  EXPECT_EQ(message_of<ShapeError>([&] {
              rms_norm(random_activation({2, 1}, 1, device), RmsNormConfig{});
            }),
            "[rms_norm] x is [2, 1] but the weight is []; expected [1]");
}

}  // namespace
}  // namespace meshseek

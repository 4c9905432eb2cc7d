// Mistakes that other engines made with this model family, by number. Each case is small enough to work out by hand, and each mistake
// gives a visibly different answer. The goldens say the same on many rows, but not why.
#include <cmath>
#include <numbers>

#include "modules/rope/yarn.hpp"
#include "ops/rotary_embedding.hpp"
#include "ops/router.hpp"
#include "ops/test_tensors.hpp"

namespace meshseek {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::FloatNear;

/// YaRN as DeepSeek-V3 is released: 192 = 128 + 64, factor 40.
HfConfig yarn_config(double mscale, double mscale_all_dim) {
  HfConfig hf;
  hf.qk_nope_head_dim = 128;
  hf.qk_rope_head_dim = 64;
  hf.rope = {.type = "yarn", .factor = 40.0, .mscale = mscale, .mscale_all_dim = mscale_all_dim, .original_max_position_embeddings = 4096};
  return hf;
}

const float kLogitOfThreeQuarters = std::log(3.0F);  // sigmoid(ln 3) = 3/4; softmax of (0, ln 3) = (1/4, 3/4)

/// Experts and weights of one token.
struct Choice {
  std::vector<std::int32_t> indices = {};
  std::vector<float> weights = {};
};

Choice choose(const std::vector<float>& logits, RouterConfig cfg, const std::vector<float>& bias = {},
              DataType bias_dtype = DataType::float32) {
  Device device(1);
  const auto num_experts = static_cast<std::int64_t>(logits.size());
  if (!bias.empty()) cfg.e_score_correction_bias = weight_slot(bias, {num_experts}, bias_dtype);
  const Routing routing = router(activation(logits, {1, num_experts}, device), cfg);
  const auto indices = routing.indices.data<std::int32_t>();
  const auto weights = routing.weights.data<float>();
  return {{indices.begin(), indices.end()}, {weights.begin(), weights.end()}};
}

RouterConfig v3(std::int64_t k, std::int64_t n_group = 1, std::int64_t topk_group = 1) {
  return {.scoring_func = ScoringFunc::sigmoid,
          .topk_method = TopkMethod::noaux_tc,
          .num_experts_per_tok = k,
          .n_group = n_group,
          .topk_group = topk_group,
          .norm_topk_prob = true};
}

TEST(Traps, T01_SoftmaxScaleHoldsTheSquareOfMscaleAllDim) {
  const double m = 0.1 * std::log(40.0) + 1.0;
  EXPECT_NEAR(mla_softmax_scale(yarn_config(1.0, 1.0)), m * m / std::sqrt(192.0), 1e-15);
  EXPECT_NEAR(mla_softmax_scale(yarn_config(1.0, 1.0)) * std::sqrt(192.0), 1.8738, 1e-4);      // V3
  EXPECT_NEAR(mla_softmax_scale(yarn_config(0.707, 0.707)) * std::sqrt(192.0), 1.5896, 1e-4);  // V2-Lite
}

TEST(Traps, T02_SoftmaxScaleTakesMscaleAllDimAndCosSinTheQuotient) {
  const HfConfig hf = yarn_config(1.0, 0.707);
  const double m = 0.1 * std::log(40.0) + 1.0;
  const double m_all = 0.1 * 0.707 * std::log(40.0) + 1.0;
  EXPECT_NEAR(mla_softmax_scale(hf), m_all * m_all / std::sqrt(192.0), 1e-15);
  EXPECT_NEAR(rope_cos_sin_factor(hf.rope), m / m_all, 1e-15);
  EXPECT_EQ(rope_cos_sin_factor(yarn_config(1.0, 1.0).rope), 1.0);  // else the scale would count twice
  const HfConfig without = yarn_config(0.0, 0.0);
  EXPECT_EQ(mla_softmax_scale(without), 1.0 / std::sqrt(192.0));
  EXPECT_NEAR(rope_cos_sin_factor(without.rope), m, 1e-15);
}

TEST(Traps, T03_SoftmaxScaleGrowsWithTheContextAndIsPlainWithoutYarn) {
  HfConfig hf = yarn_config(1.0, 1.0);
  const double at_40 = mla_softmax_scale(hf);
  EXPECT_GT(at_40, 1.0 / std::sqrt(192.0));
  hf.rope.factor = 64.0;
  EXPECT_GT(mla_softmax_scale(hf), at_40);
  hf.rope.factor = 1.0;
  EXPECT_EQ(mla_softmax_scale(hf), 1.0 / std::sqrt(192.0));
  hf.rope = {};
  EXPECT_EQ(mla_softmax_scale(hf), 1.0 / std::sqrt(192.0));
}

TEST(Traps, T04_PairsAreNeighboursUnlessTheConfigSaysHalves) {
  Device device(1);
  // Both angles of position 1: a quarter turn for the first pair, nothing for the second.
  const RopeTables tables = make_rope_tables(std::vector<std::int64_t>{1}, std::vector<double>{std::numbers::pi / 2.0, 0.0}, 1.0);
  const auto turned = [&](const RotaryEmbeddingConfig& cfg) {
    return to_float_vector(rotary_embedding(activation(std::vector<float>{1, 2, 3, 4}, {1, 1, 4}, device), tables, cfg));
  };
  const auto near = [](float value) { return FloatNear(value, 1e-6F); };
  EXPECT_THAT(turned({}), ElementsAre(near(-2), near(1), near(3), near(4)));  // results stay in their places
  EXPECT_THAT(turned({.interleaved = false}), ElementsAre(near(-3), near(2), near(1), near(4)));
}

TEST(Traps, T06_GateWeightsAreTheScoresWithoutBias) {
  const Choice choice = choose({0.0F, kLogitOfThreeQuarters, 0.0F, 0.0F}, v3(2), {0.4F, 0.0F, 0.0F, 0.0F});
  EXPECT_THAT(choice.indices, ElementsAre(0, 1));  // 0.5 + 0.4 is before 0.75
  EXPECT_THAT(choice.weights, ElementsAre(FloatNear(0.4F, 1e-6F), FloatNear(0.6F, 1e-6F)));
}

TEST(Traps, T07_GroupScoreIsTheSumOfItsTwoBestForNoauxTcAndTheBestForV2) {
  const std::vector<float> bias = {0.4F, -0.4F, 0.1F, 0.1F};  // of scores 0.5: groups (0.9, 0.1) and (0.6, 0.6)
  EXPECT_THAT(choose({0.0F, 0.0F, 0.0F, 0.0F}, v3(2, 2, 1), bias).indices, ElementsAre(2, 3));
  RouterConfig v2 = {.topk_method = TopkMethod::group_limited_greedy, .num_experts_per_tok = 2, .n_group = 2, .topk_group = 1};
  EXPECT_THAT(choose({2.0F, -2.0F, 1.5F, 1.5F}, v2).indices, ElementsAre(0, 1));
}

TEST(Traps, T07_MaskedGroupsAreNotChosenWhenEveryBiasedScoreIsNegative) {
  const Choice choice = choose({0.0F, 0.0F, kLogitOfThreeQuarters, 0.0F}, v3(2, 2, 1), {-2.0F, -2.0F, -2.0F, -2.0F});
  EXPECT_THAT(choice.indices, ElementsAre(2, 3));  // a mask of 0 would be above -1.25 and -1.5
  EXPECT_THAT(choice.weights, ElementsAre(FloatNear(0.6F, 1e-6F), FloatNear(0.4F, 1e-6F)));
}

TEST(Traps, T08_CorrectionBiasDecidesBelowTheResolutionOfBfloat16) {
  const std::vector<float> bias = {8.0F, 8.01F};
  EXPECT_THAT(choose({0.0F, 0.0F}, v3(1), bias).indices, ElementsAre(1));
  EXPECT_THAT(choose({0.0F, 0.0F}, v3(1), bias, DataType::bfloat16).indices, ElementsAre(0));  // what a bfloat16 store would give
}

TEST(Traps, T09_ScoringFuncIsReadAndNotInferredFromTheMethod) {
  for (const TopkMethod method : {TopkMethod::greedy, TopkMethod::group_limited_greedy, TopkMethod::noaux_tc}) {
    RouterConfig cfg = {.scoring_func = ScoringFunc::softmax, .topk_method = method, .num_experts_per_tok = 2};
    EXPECT_THAT(choose({0.0F, kLogitOfThreeQuarters}, cfg).weights, ElementsAre(FloatNear(0.75F, 1e-6F), FloatNear(0.25F, 1e-6F)));
    cfg.scoring_func = ScoringFunc::sigmoid;
    EXPECT_THAT(choose({0.0F, kLogitOfThreeQuarters}, cfg).weights, ElementsAre(FloatNear(0.75F, 1e-6F), FloatNear(0.5F, 1e-6F)));
  }
}

TEST(Traps, T10_RoutedScalingFactorsOfOneAndZeroAreNumbersLikeOthers) {
  RouterConfig cfg = v3(2);
  for (const double factor : {1.0, 0.0, 2.5}) {
    cfg.routed_scaling_factor = factor;
    const auto scaled = [&](double weight) { return FloatNear(static_cast<float>(weight * factor), 1e-6F); };
    EXPECT_THAT(choose({0.0F, kLogitOfThreeQuarters}, cfg).weights, ElementsAre(scaled(0.6), scaled(0.4))) << factor;
  }
  RouterConfig v2 = {.num_experts_per_tok = 2};
  for (const double factor : {1.0, 0.0, 16.0}) {
    v2.routed_scaling_factor = factor;
    const auto scaled = [&](double weight) { return FloatNear(static_cast<float>(weight * factor), 1e-5F); };
    EXPECT_THAT(choose({0.0F, kLogitOfThreeQuarters}, v2).weights, ElementsAre(scaled(0.75), scaled(0.25))) << factor;
  }
}

TEST(Traps, T10_V2NormalisesOrScalesAndV3DoesBoth) {
  const std::vector<float> logits = {0.0F, kLogitOfThreeQuarters, 0.0F};  // softmax: 0.2, 0.6, 0.2
  RouterConfig v2 = {.num_experts_per_tok = 2, .norm_topk_prob = true, .routed_scaling_factor = 16.0};
  EXPECT_THAT(choose(logits, v2).weights, ElementsAre(FloatNear(0.75F, 1e-6F), FloatNear(0.25F, 1e-6F)));
  v2.norm_topk_prob = false;
  EXPECT_THAT(choose(logits, v2).weights, ElementsAre(FloatNear(9.6F, 1e-5F), FloatNear(3.2F, 1e-5F)));
  RouterConfig cfg = v3(2);
  cfg.routed_scaling_factor = 2.5;
  EXPECT_THAT(choose(logits, cfg).weights, ElementsAre(FloatNear(1.5F, 1e-6F), FloatNear(1.0F, 1e-6F)));
  cfg.norm_topk_prob = false;
  EXPECT_THAT(choose(logits, cfg).weights, ElementsAre(FloatNear(1.875F, 1e-6F), FloatNear(1.25F, 1e-6F)));
}

TEST(Traps, T23_EqualScoresGoToTheLowerIndexAndLargerScoresFirst) {
  const std::vector<float> equal(64, 0.25F);
  for (const TopkMethod method : {TopkMethod::greedy, TopkMethod::group_limited_greedy, TopkMethod::noaux_tc}) {
    const RouterConfig cfg = {.topk_method = method, .num_experts_per_tok = 6, .n_group = 8, .topk_group = 3};
    EXPECT_THAT(choose(equal, cfg).indices, ElementsAre(0, 1, 2, 3, 4, 5)) << enum_name(method);
    std::vector<float> two_larger = equal;
    two_larger[40] = two_larger[9] = 0.5F;  // groups 5 and 1 are kept, and of the others the lowest
    EXPECT_THAT(choose(two_larger, cfg).indices, ElementsAre(9, 40, 0, 1, 2, 3)) << enum_name(method);
  }
}

}  // namespace
}  // namespace meshseek

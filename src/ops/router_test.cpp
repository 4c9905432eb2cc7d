#include "ops/router.hpp"

#include <cmath>

#include "ops/test_tensors.hpp"
#include "reference/goldens.hpp"
#include "reference/router.hpp"

namespace meshseek {
namespace {

using namespace testing;
using reference::RouterMistake;

constexpr std::size_t kRows = 2000;
constexpr std::size_t kFirstTie = 1000, kEndTie = 1600;  ///< these rows use bias_ties

/// One case of the goldens; the settings are those of tests/data/unit/unit.json.
struct GateCase {
  std::string name = {};
  RouterConfig cfg = {};
};

std::vector<GateCase> gate_cases() {
  const auto softmax = [](TopkMethod method, std::int64_t groups, std::int64_t kept, bool normalise, double scale) {
    return RouterConfig{.topk_method = method,
                        .num_experts_per_tok = 6,
                        .n_group = groups,
                        .topk_group = kept,
                        .norm_topk_prob = normalise,
                        .routed_scaling_factor = scale};
  };
  const auto sigmoid = [](std::int64_t k, std::int64_t groups, std::int64_t kept, bool normalise, double scale) {
    return RouterConfig{.scoring_func = ScoringFunc::sigmoid,
                        .topk_method = TopkMethod::noaux_tc,
                        .num_experts_per_tok = k,
                        .n_group = groups,
                        .topk_group = kept,
                        .norm_topk_prob = normalise,
                        .routed_scaling_factor = scale};
  };
  return {{"greedy", softmax(TopkMethod::greedy, 1, 1, false, 1.0)},
          {"greedy-normalised", softmax(TopkMethod::greedy, 1, 1, true, 16.0)},
          {"group_limited_greedy", softmax(TopkMethod::group_limited_greedy, 8, 3, false, 16.0)},
          {"noaux_tc", sigmoid(8, 8, 4, true, 2.5)},
          {"noaux_tc-large-bias", sigmoid(8, 8, 4, true, 2.5)},
          {"noaux_tc-one-group", sigmoid(4, 1, 1, true, 2.827)},
          {"noaux_tc-narrow", sigmoid(8, 8, 4, false, 1.5)}};
}

/// The arrays of one case.
struct Gate {
  Gate(const reference::Goldens& goldens, const GateCase& gate) : num_experts(goldens.shape("gate." + gate.name + ".logits")[1]) {
    const std::string prefix = "gate." + gate.name + ".";
    logits = goldens.floats(prefix + "logits");
    indices = goldens.integers(prefix + "indices");
    weights = goldens.floats(prefix + "weights");
    if (gate.cfg.topk_method != TopkMethod::noaux_tc) return;
    bias = goldens.floats(prefix + "bias");
    bias_ties = goldens.floats(prefix + "bias_ties");
  }
  const std::vector<float>& bias_of(std::size_t row) const { return row >= kFirstTie && row < kEndTie ? bias_ties : bias; }
  std::span<const float> logits_of(std::size_t row) const {
    return std::span(logits).subspan(row * static_cast<std::size_t>(num_experts), static_cast<std::size_t>(num_experts));
  }

  std::int64_t num_experts = 0;
  std::vector<float> logits = {};
  std::vector<float> bias = {};
  std::vector<float> bias_ties = {};
  std::vector<std::int64_t> indices = {};
  std::vector<float> weights = {};
};

const reference::Goldens& goldens() {
  static const reference::Goldens file(Path(MESHSEEK_SOURCE_DIR) / "tests" / "data" / "unit" / "unit.safetensors");
  return file;
}

reference::RouterSettings settings_of(const RouterConfig& cfg) {
  return {.scoring_func = std::string(enum_name(cfg.scoring_func)),
          .topk_method = std::string(enum_name(cfg.topk_method)),
          .num_experts_per_tok = cfg.num_experts_per_tok,
          .n_group = cfg.n_group,
          .topk_group = cfg.topk_group,
          .norm_topk_prob = cfg.norm_topk_prob,
          .routed_scaling_factor = cfg.routed_scaling_factor};
}

/// Rows whose indices differ, and the largest relative difference of the weights where they do not.
struct Disagreement {
  std::size_t rows = 0;
  double weights = 0.0;
};

void compare_row(Disagreement& result, const Gate& gate, std::size_t row, std::size_t k, const auto& index_at, const auto& weight_at) {
  for (std::size_t slot = 0; slot < k; ++slot) {
    if (index_at(slot) != gate.indices[row * k + slot]) {
      ++result.rows;
      return;
    }
  }
  for (std::size_t slot = 0; slot < k; ++slot) {
    const double expected = gate.weights[row * k + slot];
    result.weights = std::max(result.weights, std::abs(weight_at(slot) - expected) / std::abs(expected));
  }
}

/// The operator on rows [begin, end), which share a bias.
void compare_operator(Disagreement& result, const GateCase& gate_case, const Gate& gate, std::size_t begin, std::size_t end,
                      Device& device) {
  RouterConfig cfg = gate_case.cfg;
  if (!gate.bias.empty()) cfg.e_score_correction_bias = weight_slot(gate.bias_of(begin), {gate.num_experts});
  const Tensor logits = activation(gate.logits, {static_cast<std::int64_t>(kRows), gate.num_experts}, device);
  const Routing routing = router(logits.slice_rows(static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end)), cfg);
  const auto k = static_cast<std::size_t>(cfg.num_experts_per_tok);
  const auto indices = routing.indices.data<std::int32_t>();
  const auto weights = routing.weights.data<float>();
  for (std::size_t row = begin; row < end; ++row) {
    const std::size_t at = (row - begin) * k;
    compare_row(
        result, gate, row, k, [&](std::size_t slot) { return std::int64_t{indices[at + slot]}; },
        [&](std::size_t slot) { return double{weights[at + slot]}; });
  }
}

Disagreement of_reference(const GateCase& gate_case, RouterMistake mistake) {
  const Gate gate(goldens(), gate_case);
  Disagreement result;
  for (std::size_t row = 0; row < kRows; ++row) {
    const reference::RouterChoice choice = reference::route(gate.logits_of(row), gate.bias_of(row), settings_of(gate_case.cfg), mistake);
    compare_row(
        result, gate, row, choice.indices.size(), [&](std::size_t slot) { return choice.indices[slot]; },
        [&](std::size_t slot) { return choice.weights[slot]; });
  }
  return result;
}

GateCase gate_case_named(const std::string& name) {
  for (GateCase& gate : gate_cases()) {
    if (gate.name == name) return gate;
  }
  throw Error("no case " + name);
}

TEST(Router, ChoosesTheGoldenExpertsInEveryRowWithTheGoldenWeights) {
  Device device(2);
  for (const GateCase& gate_case : gate_cases()) {
    const Gate gate(goldens(), gate_case);
    ASSERT_EQ(gate.indices.size(), kRows * static_cast<std::size_t>(gate_case.cfg.num_experts_per_tok));
    Disagreement result;
    compare_operator(result, gate_case, gate, 0, kFirstTie, device);
    compare_operator(result, gate_case, gate, kFirstTie, kEndTie, device);
    compare_operator(result, gate_case, gate, kEndTie, kRows, device);
    EXPECT_EQ(result.rows, 0U) << gate_case.name;
    EXPECT_LE(result.weights, 2e-6) << gate_case.name;
  }
}

TEST(Router, ReferenceAgreesWithTheGoldensInEveryRow) {
  for (const GateCase& gate_case : gate_cases()) {
    const Disagreement result = of_reference(gate_case, RouterMistake::none);
    EXPECT_EQ(result.rows, 0U) << gate_case.name;
    EXPECT_LE(result.weights, 2e-6) << gate_case.name;
  }
}

TEST(Router, GoldensNoticeEveryKnownMistakeOfTheChoice) {
  const auto wrong_rows = [](const std::string& name, RouterMistake mistake) { return of_reference(gate_case_named(name), mistake).rows; };
  EXPECT_GT(wrong_rows("noaux_tc", RouterMistake::hidden_groups_are_zero), 0U);
  EXPECT_GT(wrong_rows("noaux_tc-narrow", RouterMistake::hidden_groups_are_zero), 0U);
  EXPECT_GT(wrong_rows("noaux_tc", RouterMistake::group_score_is_the_best), 0U);
  EXPECT_GT(wrong_rows("noaux_tc-narrow", RouterMistake::group_score_is_the_best), 0U);
  EXPECT_GT(wrong_rows("noaux_tc-large-bias", RouterMistake::bias_in_bfloat16), 0U);
  for (const GateCase& gate : gate_cases()) EXPECT_GT(wrong_rows(gate.name, RouterMistake::ties_to_the_higher_index), 0U) << gate.name;
}

TEST(Router, GoldensNoticeEveryKnownMistakeOfTheWeights) {
  const auto weights = [](const std::string& name, RouterMistake mistake) { return of_reference(gate_case_named(name), mistake).weights; };
  EXPECT_GT(weights("noaux_tc", RouterMistake::biased_weights), 1e-3);
  EXPECT_GT(weights("noaux_tc-one-group", RouterMistake::biased_weights), 1e-3);
  EXPECT_GT(weights("noaux_tc", RouterMistake::normalised_and_not_scaled), 0.1);
  EXPECT_GT(weights("greedy-normalised", RouterMistake::normalised_and_scaled), 0.1);
}

TEST(Router, OperatorWithABiasRoundedToBfloat16ChoosesOtherExperts) {
  Device device(1);
  const GateCase gate_case = gate_case_named("noaux_tc-large-bias");
  Gate gate(goldens(), gate_case);
  for (float& value : gate.bias) value = round_to_bf16(value);
  Disagreement result;
  compare_operator(result, gate_case, gate, 0, kFirstTie, device);
  EXPECT_GT(result.rows, 0U);
}

TEST(Router, OneExpertOfTheSoftmaxIsScaledAndNotNormalised) {
  Device device(1);
  const RouterConfig cfg = {.norm_topk_prob = true, .routed_scaling_factor = 4.0};
  const Routing routing = router(activation(std::vector<float>{0.0F, 0.0F}, {1, 2}, device), cfg);
  EXPECT_EQ(routing.indices.data<std::int32_t>()[0], 0);
  EXPECT_EQ(routing.weights.data<float>()[0], 2.0F);
}

TEST(Router, ThreadsDoNotChangeABit) {
  const std::vector<float> logits = random_values(64 * 24, 1);
  const RouterConfig cfg = {.scoring_func = ScoringFunc::sigmoid,
                            .topk_method = TopkMethod::noaux_tc,
                            .num_experts_per_tok = 4,
                            .n_group = 4,
                            .topk_group = 2,
                            .norm_topk_prob = true};
  Device one(1), three(3);
  const Routing a = router(activation(logits, {64, 24}, one), cfg);
  const Routing b = router(activation(logits, {64, 24}, three), cfg);
  EXPECT_EQ(bits_of(a.indices), bits_of(b.indices));
  EXPECT_EQ(bits_of(a.weights), bits_of(b.weights));
}

TEST(Router, RefusesSettingsThatDoNotDivideTheExperts) {
  Device device(1);
  const Tensor logits = random_activation({2, 6}, 1, device);
  const auto message = [&](RouterConfig cfg) { return message_of<ShapeError>([&] { router(logits, cfg); }); };
  EXPECT_EQ(message({.num_experts_per_tok = 7}),
            "[router] logits are [2, 6] with 7 experts a token, 1 groups, 1 kept; expected [T, E] that these divide");
  EXPECT_EQ(message({.n_group = 4}),
            "[router] logits are [2, 6] with 1 experts a token, 4 groups, 1 kept; expected [T, E] that these divide");
  EXPECT_EQ(message({.topk_method = TopkMethod::noaux_tc, .num_experts_per_tok = 3, .n_group = 3, .topk_group = 1}),
            "[router] 3 experts a token but 1 groups of 2 hold only 2; expected num_experts_per_tok of them or more");
  EXPECT_EQ(message({.topk_method = TopkMethod::noaux_tc, .n_group = 6, .topk_group = 2}),
            "[router] 6 groups of 6 experts have one expert each; noaux_tc ranks groups by their two best");
  EXPECT_EQ(message({.e_score_correction_bias = weight_slot(random_values(5, 1), {5})}),
            "[router] the correction bias is [5] but there are 6 experts; expected one value for each");
}

TEST(Router, RefusesNumbersThatHaveNoOrder) {
  Device device(1);
  const Tensor logits = activation(std::vector<float>{0.0F, 1.0F, NAN, 1.0F}, {2, 2}, device);
  EXPECT_EQ(message_of([&] { router(logits, {}); }),
            "[router] the scores of token 1 hold NaN; expected finite router logits; check the weights and the dtype policy");
  const RouterConfig cfg = {.e_score_correction_bias = weight_slot(std::vector<float>{0.0F, -INFINITY}, {2})};
  EXPECT_EQ(message_of([&] { router(logits, cfg); }), "[router] the correction bias of expert 1 is -inf; expected a finite number");
  EXPECT_EQ(message_of<ShapeError>([&] {
              router(random_activation({1, 4}, 1, device, DataType::bfloat16), {});
            }),
            "[tensor] [1, 4] is bfloat16 but was read as float32");
}

}  // namespace
}  // namespace meshseek

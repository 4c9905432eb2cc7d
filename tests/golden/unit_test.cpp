// Unit goldens: RoPE and YaRN, RMSNorm and gating against the float64 reference (tests/data/goldens.md says what each array is).
#include <gtest/gtest.h>

#include <cmath>

#include "base/file.hpp"
#include "config/tree.hpp"
#include "hf/rope_config.hpp"
#include "mesh/device.hpp"
#include "modules/rope/rope.hpp"
#include "modules/rope/yarn.hpp"
#include "ops/rms_norm.hpp"
#include "ops/rotary_embedding.hpp"
#include "ops/router.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

using testing::Arrays;

class Unit : public ::testing::Test {
 protected:
  static Path folder() { return testing::data_folder() / "unit"; }
  const Tree& section(const std::string& name) const { return *json_.find(name); }

  /// The HfConfig fields that RoPE and the softmax scale depend on.
  static HfConfig hf_of(const Tree& config) {
    const ConfigReader reader(config, "unit.json");
    HfConfig hf;
    hf.rope = read_rope_config(reader);
    hf.qk_nope_head_dim = config.find("qk_nope_head_dim")->as_integer("qk_nope_head_dim");
    hf.qk_rope_head_dim = config.find("qk_rope_head_dim")->as_integer("qk_rope_head_dim");
    return hf;
  }

  static WeightSlot slot(const std::vector<float>& values, DataType dtype = DataType::float32) {
    const Shape shape = {static_cast<std::int64_t>(values.size())};
    return {.shape = shape, .tensor = make_tensor(values, shape, dtype, Layout::row_major)};
  }

  Arrays golden_{folder() / "unit.safetensors"};
  Tree json_ = parse_json(read_text_file(folder() / "unit.json"), "unit.json");
  Device device_{2};
};

void expect_relative(double actual, double expected, double limit, const std::string& what) {
  EXPECT_LE(std::abs(actual - expected), limit * std::abs(expected)) << what << ": " << actual << " instead of " << expected;
}

TEST_F(Unit, FrequenciesAndScalesOfEveryRopeConfigAreExact) {
  std::size_t configs = 0;
  for (const auto& [name, entry] : section("rope").as_object("rope")) {
    const HfConfig hf = hf_of(*entry.find("config"));
    const std::vector<double> inv_freq = rope_inv_freq(hf.rope, hf.qk_rope_head_dim);
    const Tree::Array& expected = entry.find("inv_freq")->as_array("inv_freq");
    ASSERT_EQ(inv_freq.size(), expected.size()) << name;
    for (std::size_t idx = 0; idx < expected.size(); ++idx) expect_relative(inv_freq[idx], expected[idx].as_number("inv_freq"), 1e-6, name);
    expect_relative(mla_softmax_scale(hf), entry.find("softmax_scale")->as_number("softmax_scale"), 1e-6, name + " softmax scale");
    expect_relative(rope_cos_sin_factor(hf.rope), entry.find("cos_sin_factor")->as_number("cos_sin_factor"), 1e-6,
                    name + " cos/sin factor");
    ++configs;
  }
  EXPECT_EQ(configs, 9U);
}

TEST_F(Unit, TheReleasedModelsHaveTheirPublishedSoftmaxScales) {
  const auto scale = [&](const char* name) { return mla_softmax_scale(hf_of(*section("rope").find(name)->find("config"))); };
  EXPECT_NEAR(scale("deepseek-v2-lite"), 0.11472139, 1e-8);
  EXPECT_NEAR(scale("deepseek-v3"), 0.13523378, 1e-8);
  EXPECT_NEAR(scale("kimi-k2-f32"), 0.13086080, 1e-8);
  EXPECT_NEAR(scale("kimi-k2-f64"), 0.14467963, 1e-8);
  EXPECT_NEAR(scale("moonlight"), 0.07216878, 1e-8);
}

TEST_F(Unit, RotationsAreExactUpToThe131071stPositionInBothPairings) {
  const std::vector<std::int64_t> positions = golden_.integers("rope.positions");
  ASSERT_EQ(positions.back(), 131071);
  for (const char* name : {"deepseek-v3", "kimi-k2-f32", "moonlight", "yarn-without-mscale"}) {
    const HfConfig hf = hf_of(*section("rope").find(name)->find("config"));
    const RopeTables tables = Rope(hf, {}).tables(positions);
    for (const bool interleaved : {true, false}) {
      const std::string key = std::string("rope.") + (interleaved ? "interleaved." : "half_split.") + name;
      const Tensor x = Tensor::from<float>(golden_.shape("rope.x"), golden_.floats("rope.x"), &device_);
      const Tensor rotated = rotary_embedding(x, tables, {.interleaved = interleaved});
      const std::vector<float> expected = golden_.floats(key);
      const auto found = testing::difference(rotated.data<float>(), expected);
      EXPECT_LE(found.max, 1e-6 * std::max(1.0, found.largest)) << key;
    }
  }
}

TEST_F(Unit, RmsNormIsExactForRowsOfEverySizeAndForZeros) {
  const std::vector<float> x = golden_.floats("rms_norm.x");
  const Shape shape = golden_.shape("rms_norm.x");
  const Tensor input = Tensor::from<float>(shape, x, &device_);
  for (const auto& [key, epsilon] : {std::pair{"rms_norm.eps_1e-6", 1e-6}, std::pair{"rms_norm.eps_1e-5", 1e-5}}) {
    const Tensor y = rms_norm(input, {.weight = slot(golden_.floats("rms_norm.weight")), .epsilon = epsilon, .dtype = DataType::float32});
    const std::vector<float> expected = golden_.floats(key);
    for (std::size_t idx = 0; idx < expected.size(); ++idx) expect_relative(y.data<float>()[idx], expected[idx], 1e-6, key);
  }
}

class Gating : public Unit {
 protected:
  struct Case {
    std::string name;
    RouterConfig config = {};
    std::int64_t tie_begin = 0;
    std::int64_t tie_end = 0;
  };

  std::vector<Case> cases() const {
    std::vector<Case> result;
    for (const auto& [name, entry] : section("gates").as_object("gates")) {
      const auto integer = [&entry = entry](const char* key) { return entry.find(key)->as_integer(key); };
      Case one = {.name = name};
      one.config = {.scoring_func = enum_value<ScoringFunc>(entry.find("scoring_func")->as_string("")).value(),
                    .topk_method = enum_value<TopkMethod>(entry.find("topk_method")->as_string("")).value(),
                    .num_experts_per_tok = integer("num_experts_per_tok"),
                    .n_group = integer("n_group"),
                    .topk_group = integer("topk_group"),
                    .norm_topk_prob = entry.find("norm_topk_prob")->as_bool(""),
                    .routed_scaling_factor = entry.find("routed_scaling_factor")->as_number("")};
      one.tie_begin = entry.find("tie_rows")->as_array("")[0].as_integer("");
      one.tie_end = entry.find("tie_rows")->as_array("")[1].as_integer("");
      result.push_back(std::move(one));
    }
    return result;
  }

  /// Routes rows [begin, end) of a case with the bias that belongs to them, stored in `bias_dtype`.
  Routing route(const Case& one, std::int64_t begin, std::int64_t end, const std::string& bias, DataType bias_dtype = DataType::float32) {
    const std::string prefix = "gate." + one.name + ".";
    const std::int64_t num_experts = golden_.shape(prefix + "logits")[1];
    const std::vector<float> logits = golden_.floats(prefix + "logits");
    const auto rows =
        std::span(logits).subspan(static_cast<std::size_t>(begin * num_experts), static_cast<std::size_t>((end - begin) * num_experts));
    RouterConfig config = one.config;
    if (golden_.contains(prefix + bias)) config.e_score_correction_bias = slot(golden_.floats(prefix + bias), bias_dtype);
    return router(Tensor::from<float>({end - begin, num_experts}, rows, &device_), config);
  }

  /// Rows of a block whose experts differ from the golden's.
  std::size_t count_other_choices(const Case& one, const Routing& routing, std::int64_t begin) const {
    const std::vector<std::int64_t> expected = golden_.integers("gate." + one.name + ".indices");
    const auto actual = routing.indices.data<std::int32_t>();
    const auto k = static_cast<std::size_t>(one.config.num_experts_per_tok);
    std::size_t differing = 0;
    for (std::size_t row = 0; row < actual.size() / k; ++row) {
      for (std::size_t slot_idx = 0; slot_idx < k; ++slot_idx) {
        if (actual[row * k + slot_idx] == expected[(static_cast<std::size_t>(begin) + row) * k + slot_idx]) continue;
        ++differing;
        break;
      }
    }
    return differing;
  }
};

TEST_F(Gating, EveryRowOfEveryCaseChoosesTheSameExpertsInTheSameOrderWithTheSameWeights) {
  for (const Case& one : cases()) {
    const std::vector<float> expected = golden_.floats("gate." + one.name + ".weights");
    const std::int64_t num_rows = golden_.shape("gate." + one.name + ".logits")[0];
    ASSERT_EQ(num_rows, 2000);
    const std::pair<std::int64_t, std::int64_t> blocks[] = {{0, one.tie_begin}, {one.tie_begin, one.tie_end}, {one.tie_end, num_rows}};
    for (const auto& [begin, end] : blocks) {
      const Routing routing = route(one, begin, end, begin == one.tie_begin ? "bias_ties" : "bias");
      EXPECT_EQ(count_other_choices(one, routing, begin), 0U) << one.name << " from row " << begin;
      const auto weights = routing.weights.data<float>();
      const auto offset = static_cast<std::size_t>(begin * one.config.num_experts_per_tok);
      for (std::size_t idx = 0; idx < weights.size(); ++idx) expect_relative(weights[idx], expected[offset + idx], 2e-6, one.name);
    }
  }
}

TEST_F(Gating, ACorrectionBiasRoundedToBfloat16WouldChooseOtherExperts) {
  for (const Case& one : cases()) {
    if (one.name != "noaux_tc-large-bias") continue;
    EXPECT_GT(count_other_choices(one, route(one, 0, one.tie_begin, "bias", DataType::bfloat16), 0), 0U);
    return;
  }
  FAIL() << "the case noaux_tc-large-bias is missing";
}

TEST_F(Gating, ScoringFuncIsNotInferredFromTheMethod) {
  for (Case& one : cases()) {
    if (one.name != "greedy") continue;
    const Routing softmax = route(one, 0, 1, "bias");
    one.config.scoring_func = ScoringFunc::sigmoid;
    const Routing sigmoid = route(one, 0, 1, "bias");
    EXPECT_GT(std::abs(softmax.weights.data<float>()[0] - sigmoid.weights.data<float>()[0]), 0.1F);
  }
}

}  // namespace
}  // namespace meshseek

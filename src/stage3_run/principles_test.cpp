// The hierarchical example of the principles: a model of 32 layers described by the ranges 0-31, 0-15, 16-31 and 10, with an operator type of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "config/overlay.hpp"
#include "config/provenance.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "ops/linear_config.hpp"
#include "stage3_run/create_run_config.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/temporary_folder.hpp"

// An operator of a user's own, with an enum, a nested object and a weight: nothing of it is known to ops/.
namespace own_project {

enum class Flavour : std::uint8_t { plain, spicy };
constexpr auto enum_names(Flavour) {
  return std::array<std::pair<Flavour, std::string_view>, 2>{{{Flavour::plain, "plain"}, {Flavour::spicy, "spicy"}}};
}

struct CustomObject {
  std::int64_t depth = 1;
  Flavour flavour = Flavour::plain;
  static constexpr auto fields() {
    return std::tuple{meshseek::field("depth", &CustomObject::depth, "how deep"),
                      meshseek::field("flavour", &CustomObject::flavour, "which one")};
  }
};

struct SpecialConfig {
  static constexpr std::string_view kOp = "Special";

  CustomObject config = {};
  std::optional<meshseek::WeightSlot> weight = {};
  std::optional<double> threshold = {};

  static constexpr auto fields() {
    return std::tuple{meshseek::field("config", &SpecialConfig::config, "custom object"),
                      meshseek::field("weight", &SpecialConfig::weight, "a weight"),
                      meshseek::field("threshold", &SpecialConfig::threshold, "dynamic")};
  }
};

/// Found by argument-dependent lookup when the run config is made.
void validate(const SpecialConfig& cfg, std::string_view where) {
  if (cfg.config.depth < 1) throw meshseek::ConfigError("[" + std::string(where) + ".config.depth] expected at least 1");
}

struct MockMlp {
  meshseek::LinearConfig w1 = {};
  std::optional<SpecialConfig> special_layer = {};
  static constexpr auto fields() {
    return std::tuple{meshseek::field("w1", &MockMlp::w1, ""), meshseek::field("special_layer", &MockMlp::special_layer, "")};
  }
};

struct MockAttention {
  meshseek::LinearConfig wq = {};
  static constexpr auto fields() { return std::tuple{meshseek::field("wq", &MockAttention::wq, "")}; }
};

struct MockBlock {
  MockAttention attention = {};
  MockMlp mlp = {};
  static constexpr auto fields() {
    return std::tuple{meshseek::field("attention", &MockBlock::attention, ""), meshseek::field("mlp", &MockBlock::mlp, "")};
  }
};

struct MockModel {
  std::vector<MockBlock> layers = {};
  static constexpr auto fields() { return std::tuple{meshseek::field("layers", &MockModel::layers, "")}; }
};

struct MockRoot {
  MockModel model = {};
  static constexpr auto fields() { return std::tuple{meshseek::field("model", &MockRoot::model, "")}; }
};

}  // namespace own_project

namespace meshseek {
namespace {

using own_project::MockRoot;
using own_project::SpecialConfig;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kDim = 32;

constexpr const char* kModelConfig = R"({
  "model": {"layers": {
    "0-31": {"mlp": {"w1": {"op": "Linear", "input_tensor_b": {"shape": [32, 32]},
                            "program_config": {"type": "MatmulMultiCoreReuseMultiCast1DProgramConfig"},
                            "memory_config": {"memory_layout": "WIDTH_SHARDED", "buffer_type": "L1"}}}},
    "0-15": {"attention": {"wq": {"op": "Linear", "input_tensor_b": {"shape": [32, 32]}, "program_rule": {},
                                  "memory_config": {"buffer_type": "DRAM"}}}},
    "16-31": {"attention": {"wq": {"op": "Linear", "input_tensor_b": {"shape": [32, 32]},
                                   "program_config": {"type": "MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig", "per_core_N": 1},
                                   "memory_config": {"memory_layout": "WIDTH_SHARDED", "buffer_type": "L1"}}}},
    "10": {"mlp": {"special_layer": {"op": "Special", "config": {"depth": 3, "flavour": "spicy"}}}}
  }}})";

constexpr const char* kWeightConfig = R"({
  "model": {"layers": {
    "0-31": {"mlp": {"w1": {"input_tensor_b": "layers/{layer}/mlp/w1.input_tensor_b.tensorbin"}}},
    "0-15": {"attention": {"wq": {"input_tensor_b": "layers/{layer}/attention/wq.input_tensor_b.tensorbin"}}},
    "16-31": {"attention": {"wq": {"input_tensor_b": "layers/{layer}/attention/wq.input_tensor_b.tensorbin"}}}
  }}})";

/// A store of 32 layers whose weights are the number of their layer.
class Principles : public ::testing::Test {
 protected:
  void SetUp() override {
    for (std::int64_t layer_idx = 0; layer_idx < 32; ++layer_idx) {
      write(layer_idx, "mlp", "w1", static_cast<float>(layer_idx));
      write(layer_idx, "attention", "wq", static_cast<float>(64 + layer_idx));
    }
  }

  void write(std::int64_t layer_idx, const std::string& module, const std::string& op, float value) const {
    const Path folder = store_.path() / "layers" / std::to_string(layer_idx) / module;
    std::filesystem::create_directories(folder);
    const std::vector<float> values(kDim * kDim, value);
    write_tensor_file(folder / (op + ".input_tensor_b.tensorbin"), {kDim, kDim}, DataType::bfloat8_b, Layout::tile,
                      encode(values, {kDim, kDim}, DataType::bfloat8_b, Layout::tile));
  }

  static Tree model_config() { return parse_json(kModelConfig, "model config"); }

  MockRoot merge(const Tree& model_config) const {
    WeightLoader loader(store_.path(), {});
    return create_run_config<MockRoot>(model_config, parse_json(kWeightConfig, "weight config"), "cfg", loader);
  }

  /// The expanded example after a change.
  static Tree changed(const std::string& assignment) {
    Tree tree = expand_tree(model_config());
    apply_set(tree, assignment);
    return tree;
  }

  TemporaryFolder store_;
};

TEST_F(Principles, TheHierarchicalExampleBecomesExactlyTheRunConfigDescribedThere) {
  const MockRoot cfg = merge(model_config());
  ASSERT_EQ(cfg.model.layers.size(), 32U);
  for (std::size_t layer_idx = 0; layer_idx < 32; ++layer_idx) {
    const own_project::MockBlock& layer = cfg.model.layers[layer_idx];
    EXPECT_EQ(layer.mlp.w1.memory_config, L1_WIDTH_SHARDED_MEMORY_CONFIG);
    EXPECT_TRUE(std::holds_alternative<MatmulMultiCoreReuseMultiCast1DProgramConfig>(*layer.mlp.w1.program_config));
    EXPECT_EQ(to_float_vector(layer.mlp.w1.input_tensor_b.tensor).front(), static_cast<float>(layer_idx));
    EXPECT_EQ(layer.attention.wq.memory_config, layer_idx < 16 ? DRAM_MEMORY_CONFIG : L1_WIDTH_SHARDED_MEMORY_CONFIG);
    EXPECT_EQ(to_float_vector(layer.attention.wq.input_tensor_b.tensor).front(), static_cast<float>(64 + layer_idx));
    EXPECT_EQ(layer.mlp.special_layer.has_value(), layer_idx == 10) << layer_idx;
  }
  EXPECT_EQ(cfg.model.layers[10].mlp.special_layer->config.depth, 3);
  EXPECT_EQ(cfg.model.layers[10].mlp.special_layer->config.flavour, own_project::Flavour::spicy);
}

TEST_F(Principles, EachOperationHasItsOwnInstance) {
  MockRoot cfg = merge(model_config());
  const Tree before = to_tree(merge(model_config()));
  cfg.model.layers[3].mlp.w1.transpose_b = false;
  cfg.model.layers[3].mlp.w1.input_tensor_b.tensor.deallocate();
  cfg.model.layers[3].attention.wq.memory_config = L1_MEMORY_CONFIG;
  for (std::size_t layer_idx = 0; layer_idx < 32; ++layer_idx) {
    if (layer_idx == 3) continue;
    EXPECT_TRUE(cfg.model.layers[layer_idx].mlp.w1.input_tensor_b.tensor.has_storage());
    EXPECT_TRUE(cfg.model.layers[layer_idx].mlp.w1.transpose_b);
  }
  cfg.model.layers[3].mlp.w1.transpose_b = true;
  cfg.model.layers[3].attention.wq.memory_config = DRAM_MEMORY_CONFIG;
  EXPECT_EQ(to_tree(cfg), before);
}

TEST_F(Principles, AnOperatorTypeOfOnesOwnTakesPartInEveryRule) {
  // Serialisation: byte-identical after reading and writing.
  const Tree written = to_tree(merge(model_config()));
  const std::string text = to_json(written);
  EXPECT_EQ(to_json(to_tree(from_tree<MockRoot>(parse_json(text, "again"), "cfg"))), text);
  EXPECT_THAT(text, HasSubstr("\"10\": {"));
  // Iteration skips what is unset.
  SpecialConfig special;
  std::vector<std::string_view> names;
  for_each_field(special, [&](std::string_view name, auto&) { names.push_back(name); });
  EXPECT_THAT(names, ::testing::ElementsAre("config"));
  // Overlap, unknown fields, wrong enum values and wrong types.
  const auto fails = [&](const std::string& from, const std::string& to, const auto& matcher) {
    std::string changed_text = kModelConfig;
    changed_text.replace(changed_text.find(from), from.size(), to);
    EXPECT_THAT([&] { merge(parse_json(changed_text, "changed")); }, ThrowsMessage<ConfigError>(matcher));
  };
  const std::string ten = R"("10": {"mlp")";
  fails(ten, R"("9-11": {"mlp": {"special_layer": {"op": "Special"}}}, )" + ten,
        AllOf(HasSubstr("cfg.model.layers.10.mlp.special_layer"), HasSubstr("\"9-11\" and \"10\" both define it for layer 10")));
  fails("\"depth\"", "\"deth\"", HasSubstr("[cfg.model.layers.10.mlp.special_layer.config] unknown key \"deth\"; did you mean \"depth\"?"));
  fails("\"spicy\"", "\"sour\"", AllOf(HasSubstr("unknown value \"sour\""), HasSubstr("known: plain, spicy")));
  fails("\"depth\": 3", "\"depth\": \"3\"", HasSubstr("expected an integer, got a string"));
  fails("\"depth\": 3", "\"depth\": 0",
        HasSubstr("[cfg.model.layers.10.mlp.special_layer.config.depth] expected at least 1"));  // its own validate()
  fails("\"Special\"", "\"Linear\"", HasSubstr("expected \"Special\""));
}

TEST_F(Principles, OverlaysReachAnOperatorTypeOfOnesOwn) {
  const MockRoot set = merge(changed("model.layers.10.mlp.special_layer.config.depth=7"));
  EXPECT_EQ(set.model.layers[10].mlp.special_layer->config.depth, 7);
  EXPECT_EQ(merge(changed("model.layers.10.mlp.special_layer.threshold=0.5")).model.layers[10].mlp.special_layer->threshold, 0.5);
  Tree tree = expand_tree(model_config());
  apply_overlay(tree, parse_json(R"({"model": {"layers": {"8-12": {"mlp": {"w1": {"dtype": "float32"}}},
                                                          "10": {"mlp": {"special_layer": {"config": {"flavour": "plain"}}}}}}})",
                                 "overlay"));
  const MockRoot overlaid = merge(tree);
  EXPECT_EQ(overlaid.model.layers[10].mlp.special_layer->config.flavour, own_project::Flavour::plain);
  EXPECT_EQ(overlaid.model.layers[12].mlp.w1.dtype, DataType::float32);
  EXPECT_FALSE(overlaid.model.layers[13].mlp.w1.dtype);
}

TEST_F(Principles, AWeightOfAnOperatorTypeOfOnesOwnIsMerged) {
  Tree tree = expand_tree(model_config());
  apply_set(tree, "model.layers.10.mlp.special_layer.weight={\"shape\": [32, 32]}");
  EXPECT_THAT([&] { merge(tree); }, ThrowsMessage<ConfigError>(HasSubstr("[cfg.model.layers.10.mlp.special_layer.weight] missing weight")));
  Tree weights = expand_tree(parse_json(kWeightConfig, "weight config"));
  find_path(weights, "model.layers.10.mlp")
      ->set("special_layer", parse_json(R"({"weight": "layers/7/mlp/w1.input_tensor_b.tensorbin"})", "special"));
  WeightLoader loader(store_.path(), {});
  const auto cfg = create_run_config<MockRoot>(tree, weights, "cfg", loader);
  EXPECT_EQ(to_float_vector(cfg.model.layers[10].mlp.special_layer->weight->tensor).front(), 7.0F);
}

}  // namespace
}  // namespace meshseek

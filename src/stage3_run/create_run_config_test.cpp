// The merge of model config and weight config: ranges, overlaps, and every mismatch by its words.
#include "stage3_run/create_run_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "config/serialise.hpp"
#include "modules/model/model.hpp"
#include "tensor/tile_layout.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr std::int64_t kHidden = 32;
constexpr std::int64_t kInner = 64;

/// A folder of gated blocks: layers/N/mlp/{w1,w2,w3}.input_tensor_b.tensorbin.
class Merge : public ::testing::Test {
 protected:
  struct Block {
    Mlp::Config mlp = {};
    static constexpr auto fields() { return std::tuple{field("mlp", &Block::mlp, "")}; }
  };
  struct Stack {
    std::vector<Block> layers = {};
    static constexpr auto fields() { return std::tuple{field("layers", &Stack::layers, "")}; }
  };

  void SetUp() override {
    for (std::int64_t layer_idx = 0; layer_idx < 4; ++layer_idx) {
      for (const char* name : {"w1", "w3", "w2"})
        write(layer_idx, name, name == std::string("w2") ? Shape{kHidden, kInner} : Shape{kInner, kHidden});
    }
  }

  void write(std::int64_t layer_idx, const std::string& name, const Shape& shape) const {
    const Path folder = store_.path() / "layers" / std::to_string(layer_idx) / "mlp";
    std::filesystem::create_directories(folder);
    const std::vector<float> values(static_cast<std::size_t>(volume(shape)), static_cast<float>(layer_idx));
    write_tensor_file(folder / (name + ".input_tensor_b.tensorbin"), shape, DataType::bfloat8_b, Layout::tile,
                      encode(values, shape, DataType::bfloat8_b, Layout::tile));
  }

  static Tree model() {
    Stack stack;
    stack.layers.assign(4, Block{prefill_gated_mlp_config(kHidden, kInner, {})});
    return to_tree(stack);
  }

  static Tree entry(const std::string& name, const std::string& shape) {
    return parse_json(R"({"input_tensor_b": {"path": "layers/{layer}/mlp/)" + name + R"(.input_tensor_b.tensorbin", "shape": )" + shape +
                          R"(, "dtype": "bfloat8_b", "layout": "TILE", "mesh": "1x1"}})",
                      "entry");
  }

  static Tree weights() {
    Tree mlp;
    mlp.set("w1", entry("w1", "[64, 32]"));
    mlp.set("w3", entry("w3", "[64, 32]"));
    mlp.set("w2", entry("w2", "[32, 64]"));
    Tree block;
    block.set("mlp", std::move(mlp));
    Tree layers;
    layers.set("0-3", std::move(block));
    Tree tree;
    tree.set("layers", std::move(layers));
    return tree;
  }

  Stack merge(const Tree& model_config, const Tree& weight_config, MeshShape mesh = {}) const {
    WeightLoader loader(store_.path(), mesh);
    return create_run_config<Stack>(model_config, weight_config, "model", loader);
  }

  static Tree& at(Tree& tree, std::initializer_list<const char*> path) {
    Tree* node = &tree;
    for (const char* key : path) node = node->find(key);
    return *node;
  }

  TemporaryFolder store_;
};

TEST_F(Merge, EachLayerGetsItsOwnWeightsAndItsOwnConfigInstance) {
  Stack stack = merge(model(), weights());
  ASSERT_EQ(stack.layers.size(), 4U);
  for (std::size_t layer_idx = 0; layer_idx < 4; ++layer_idx) {
    EXPECT_EQ(to_float_vector(stack.layers[layer_idx].mlp.w1.input_tensor_b.tensor).front(), static_cast<float>(layer_idx));
  }
  stack.layers[0].mlp.w1.transpose_b = false;
  EXPECT_TRUE(stack.layers[1].mlp.w1.transpose_b);
}

TEST_F(Merge, PrefillAndDecodeShareOneLoadedCopy) {
  WeightLoader loader(store_.path(), {});
  const Stack prefill = create_run_config<Stack>(model(), weights(), "model", loader);
  const Stack decode = create_run_config<Stack>(model(), weights(), "model", loader);
  EXPECT_EQ(prefill.layers[2].mlp.w2.input_tensor_b.tensor.bytes().data(), decode.layers[2].mlp.w2.input_tensor_b.tensor.bytes().data());
  EXPECT_EQ(loader.num_files(), 12);
}

TEST_F(Merge, AMissingWeightNamesItsPath) {
  Tree weight_config = weights();
  auto& mlp = at(weight_config, {"layers", "0-3", "mlp"}).object();
  mlp.erase(mlp.begin());
  EXPECT_THAT([&] { merge(model(), weight_config); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("[model.layers.0.mlp.w1.input_tensor_b]"), HasSubstr("missing weight"))));
}

TEST_F(Merge, ASuperfluousWeightNamesItsPath) {
  Tree weight_config = weights();
  at(weight_config, {"layers", "0-3", "mlp"}).set("w4", entry("w1", "[64, 32]"));
  EXPECT_THAT([&] { merge(model(), weight_config); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("[model.layers.0.mlp.w4.input_tensor_b]"), HasSubstr("superfluous weight"))));
}

TEST_F(Merge, AShapeThatTheModelConfigDoesNotExpectNamesBothShapes) {
  write(1, "w2", {kHidden, kHidden});
  Tree weight_config = weights();
  at(weight_config, {"layers", "0-3", "mlp", "w2", "input_tensor_b"}).set("shape", parse_json("[32, 32]", ""));
  write(0, "w2", {kHidden, kHidden});
  EXPECT_THAT([&] { merge(model(), weight_config); }, ThrowsMessage<ConfigError>(AllOf(HasSubstr("model.layers.0.mlp.w2.input_tensor_b"),
                                                                                       HasSubstr("[32, 32]"), HasSubstr("[32, 64]"))));
}

TEST_F(Merge, AFileThatDiffersFromItsEntryNamesBoth) {
  write(1, "w2", {kHidden, kHidden});
  EXPECT_THAT([&] { merge(model(), weights()); },
              ThrowsMessage<ConfigError>(
                  AllOf(HasSubstr("model.layers.1.mlp.w2"), HasSubstr("weight config says shape [32, 64]"), HasSubstr("[32, 32]"))));
  Tree weight_config = weights();
  at(weight_config, {"layers", "0-3", "mlp", "w1", "input_tensor_b"}).set("dtype", Tree("bfloat16"));
  EXPECT_THAT([&] { merge(model(), weight_config); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("model.layers.0.mlp.w1"), HasSubstr("dtype bfloat16"), HasSubstr("bfloat8_b"))));
}

TEST_F(Merge, AnotherMeshThanTheStoresIsRefused) {
  EXPECT_THAT([&] { merge(model(), weights(), {.rows = 1, .cols = 2}); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("mesh 1x1"), HasSubstr("1x2"))));
}

TEST_F(Merge, TheSameOperatorInTwoPatternsOfOneLayerIsAnErrorNamingBothThePathAndTheLayer) {
  Tree model_config = model();
  Tree& layers = at(model_config, {"layers"});
  Tree extra;
  Tree mlp;
  mlp.set("w1", at(layers, {"0-3", "mlp", "w1"}));
  extra.set("mlp", std::move(mlp));
  layers.set("2", std::move(extra));
  EXPECT_THAT([&] { merge(model_config, weights()); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("0-3"), HasSubstr("\"2\""), HasSubstr("mlp.w1"))));
}

TEST_F(Merge, DifferentOperatorsOfOneLayerMayComeFromDifferentPatterns) {
  Tree model_config = model();
  Tree& layers = at(model_config, {"layers"});
  Tree whole = layers.object().front().second;
  Tree mlp_w2;
  mlp_w2.set("w2", at(whole, {"mlp", "w2"}));
  auto& members = at(whole, {"mlp"}).object();
  std::erase_if(members, [](const auto& member) { return member.first == "w2"; });
  const auto block = [](Tree mlp) {
    Tree tree;
    tree.set("mlp", std::move(mlp));
    return tree;
  };
  Tree split;
  split.set("0-3", whole);
  split.set("0-1", block(mlp_w2));
  split.set("2-3", block(mlp_w2));
  layers = split;
  EXPECT_EQ(merge(model_config, weights()).layers.size(), 4U);
}

TEST_F(Merge, AnUnknownKeyOfAWeightNamesTheNearest) {
  Tree weight_config = weights();
  at(weight_config, {"layers", "0-3", "mlp", "w1", "input_tensor_b"}).set("dtpye", Tree("bfloat16"));
  EXPECT_THAT(
      [&] { merge(model(), weight_config); },
      ThrowsMessage<ConfigError>(HasSubstr("[model.layers.0.mlp.w1.input_tensor_b] unknown key \"dtpye\"; did you mean \"dtype\"?")));
}

TEST_F(Merge, FilesAreMappedOnATeamWhichTellsItsProgress) {
  WeightLoader loader(store_.path(), {});
  ThreadTeam team(3);
  std::vector<std::int64_t> done;
  std::int64_t num_files = 0;
  const RunConfigOptions options = {.team = &team, .on_progress = [&](const LoadProgress& progress) {
                                      done.push_back(progress.files_done);
                                      num_files = progress.num_files;
                                    }};
  const auto stack = create_run_config<Stack>(model(), weights(), "model", loader, options);
  EXPECT_EQ(num_files, 12);
  ASSERT_EQ(done.size(), 12U);
  for (std::size_t idx = 0; idx < done.size(); ++idx) EXPECT_EQ(done[idx], static_cast<std::int64_t>(idx) + 1);
  EXPECT_EQ(to_float_vector(stack.layers[3].mlp.w2.input_tensor_b.tensor).front(), 3.0F);
  done.clear();
  create_run_config<Stack>(model(), weights(), "model", loader, options);  // nothing is left to map
  EXPECT_TRUE(done.empty());
}

TEST_F(Merge, AWeightMayBeGivenByItsPathAlone) {
  Tree weight_config = weights();
  at(weight_config, {"layers", "0-3", "mlp", "w1", "input_tensor_b"}) = Tree("layers/{layer}/mlp/w1.input_tensor_b.tensorbin");
  EXPECT_EQ(to_float_vector(merge(model(), weight_config).layers[3].mlp.w1.input_tensor_b.tensor).front(), 3.0F);
}

TEST_F(Merge, ALayerWithoutAPatternIsNamed) {
  Tree model_config = model();
  at(model_config, {"layers"}).object().front().first = "0-2";
  WeightLoader loader(store_.path(), {});
  const LayerCounts counts = [](std::string_view path) { return path == "model.layers" ? std::optional<std::int64_t>(4) : std::nullopt; };
  EXPECT_THAT([&] { create_run_config<Stack>(model_config, weights(), "model", loader, {.layer_counts = counts}); },
              ThrowsMessage<ConfigError>(HasSubstr("[model.layers] no pattern covers layer 3; add \"3\" or widen a range")));
}

TEST_F(Merge, AWeightPathMayNotLeaveTheStore) {
  for (const char* path : {"../outside.tensorbin", "/etc/passwd"}) {
    Tree weight_config = weights();
    at(weight_config, {"layers", "0-3", "mlp", "w1", "input_tensor_b"}).set("path", Tree(path));
    EXPECT_THAT([&] { merge(model(), weight_config); }, ThrowsMessage<ConfigError>(HasSubstr("leaves the store"))) << path;
  }
}

}  // namespace
}  // namespace meshseek

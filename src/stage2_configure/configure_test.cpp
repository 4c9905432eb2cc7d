// Stage 2 by its promises: pure, byte-identical, prefill and decode of one shape, fidelities that fit the store.
#include "stage2_configure/configure.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "modules/model/model.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

HfConfig hf_of(const std::string& checkpoint) { return read_hf_config(testing::data_folder() / "checkpoints" / checkpoint); }

const char* const kFamilies[] = {"v2lite-tiny",    "v2-tiny",   "v3-tiny",  "v3-tiny-fp8",
                                 "moonlight-tiny", "kimi-tiny", "odd-tiny", "tied-tiny"};

/// Dotted paths of all operators below a node, in order.
void operator_paths(const Tree& node, const std::string& path, std::vector<std::string>& paths) {
  if (!node.is_object()) return;
  if (node.find("op") != nullptr) return paths.push_back(path);
  for (const auto& [name, child] : node.as_object(path)) operator_paths(child, path + "." + name, paths);
}

/// Calls visit(fidelity) for each math_fidelity below a node.
template <class Visit>
void visit_fidelities(const Tree& node, Visit&& visit) {
  if (!node.is_object()) return;
  for (const auto& [name, child] : node.as_object("")) {
    if (name == "math_fidelity") visit(child.as_string(name));
    visit_fidelities(child, visit);
  }
}

TEST(Configure, EveryConfigIsByteIdenticalAfterReadingAndWriting) {
  for (const char* family : kFamilies) {
    for (const Mode mode : {Mode::prefill, Mode::decode}) {
      const std::string text = to_json(make_model_config(hf_of(family), {.mode = mode}));
      const Tree document = parse_json(text, "config");
      EXPECT_EQ(to_json(document), text) << family;
      const auto typed = from_tree<Model::Config>(expand_tree(*document.find("model"), {}, LayerPlaceholder::keep, "model"), "model");
      EXPECT_EQ(to_tree(typed), *document.find("model")) << family;
    }
  }
}

TEST(Configure, PrefillAndDecodeHaveTheSameOperators) {
  for (const char* family : kFamilies) {
    std::vector<std::string> prefill;
    std::vector<std::string> decode;
    operator_paths(*make_model_config(hf_of(family), {.mode = Mode::prefill}).find("model"), "model", prefill);
    operator_paths(*make_model_config(hf_of(family), {.mode = Mode::decode}).find("model"), "model", decode);
    EXPECT_EQ(prefill, decode) << family;
    EXPECT_GT(prefill.size(), 20U) << family;
  }
}

TEST(Configure, EqualLayersAreFoldedIntoRanges) {
  const Tree document = make_model_config(hf_of("v3-tiny"), {});
  const Tree& layers = *document.find("model")->find("layers");
  ASSERT_EQ(layers.as_object("layers").size(), 2U);
  EXPECT_NE(layers.find("0")->find("mlp"), nullptr);
  EXPECT_NE(layers.find("1-2")->find("moe"), nullptr);
}

TEST(Configure, TheSameDeviceDescriptionGivesTheSameBytes) {
  const MeshDevice mesh = {.shape = {}, .device = {.num_cores = 64, .l2_bytes = 1 << 20, .isa = "amx"}};
  EXPECT_EQ(to_json(make_model_config(hf_of("v2-tiny"), {.mesh = mesh})), to_json(make_model_config(hf_of("v2-tiny"), {.mesh = mesh})));
}

TEST(Configure, AFloat32StoreMakesEverythingExact) {
  const Tree document = make_model_config(hf_of("v3-tiny"), {.mode = Mode::decode, .weight_dtype = DataType::float32});
  visit_fidelities(document, [](const std::string& fidelity) { EXPECT_EQ(fidelity, "HiFi4"); });
  EXPECT_EQ(to_json(document).find("bfloat16"), std::string::npos);
}

TEST(Configure, ABfloat16StoreHasNoLoFi) {
  const Tree document = make_model_config(hf_of("v3-tiny"), {.mode = Mode::decode, .weight_dtype = DataType::bfloat16});
  visit_fidelities(document, [](const std::string& fidelity) { EXPECT_NE(fidelity, "LoFi"); });
}

TEST(Configure, OperatorsWithOtherWeightsThanTheStandardGetAFidelityThatFits) {
  const Tree weights =
      parse_json(R"({"layers": {"0-2": {"mlp": {"w1": {"input_tensor_b": {"path": "x", "dtype": "bfloat16"}}}}}})", "weights");
  const Tree document = make_model_config(hf_of("v3-tiny"), {.weight_config = weights});
  const Tree& mlp = *document.find("model")->find("layers")->find("0")->find("mlp");
  EXPECT_EQ(*mlp.find("w1")->find("compute_kernel_config")->find("math_fidelity"), Tree("HiFi2"));
  EXPECT_EQ(*mlp.find("w3")->find("compute_kernel_config")->find("math_fidelity"), Tree("LoFi"));
}

TEST(Configure, AssignmentsChangeOneLayerAndSplitItsRange) {
  const Tree document = make_model_config(hf_of("v3-tiny"), {.sets = {"model.layers.2.mla.wo.dtype=float32"}});
  const Tree& layers = *document.find("model")->find("layers");
  EXPECT_EQ(*layers.find("2")->find("mla")->find("wo")->find("dtype"), Tree("float32"));
  EXPECT_EQ(layers.find("1")->find("mla")->find("wo")->find("dtype"), nullptr);
}

TEST(Configure, AnAssignmentToNothingIsAnError) {
  EXPECT_THROW(make_model_config(hf_of("v3-tiny"), {.sets = {"model.layers.0.mla.w0.dtype=float32"}}), ConfigError);
  EXPECT_THROW(make_model_config(hf_of("v3-tiny"), {.sets = {"model.layers.0.mla.wo.dtpye=float32"}}), ConfigError);
  EXPECT_THROW(make_model_config(hf_of("v3-tiny"), {.sets = {"model.layers.0.mla.wo.dtype=float31"}}), ConfigError);
}

TEST(Configure, OnlyAnOptionalFieldCanBeUnset) {
  const Tree document = make_model_config(hf_of("v3-tiny"), {.sets = {"model.lm_head.dtype=float32", "model.lm_head.dtype=null"}});
  EXPECT_EQ(document.find("model")->find("lm_head")->find("dtype"), nullptr);
  EXPECT_THAT([] { make_model_config(hf_of("v3-tiny"), {.sets = {"model.lm_head.transpose_b=null"}}); },
              ThrowsMessage<ConfigError>(HasSubstr("[model.lm_head.transpose_b] expected true or false, got null")));
}

TEST(Configure, OverlaysComeBeforeAssignmentsAndEachInTheOrderGiven) {
  const auto overlay = [](const char* dtype) {
    return Overlay{.tree = parse_json(fmt::format(R"({{"model": {{"lm_head": {{"dtype": "{}"}}}}}})", dtype), "overlay"), .name = dtype};
  };
  const auto dtype_of = [](const Tree& document) { return *document.find("model")->find("lm_head")->find("dtype"); };
  EXPECT_EQ(dtype_of(make_model_config(hf_of("v3-tiny"), {.overlays = {overlay("float32"), overlay("bfloat16")}})), Tree("bfloat16"));
  EXPECT_EQ(dtype_of(make_model_config(hf_of("v3-tiny"), {.overlays = {overlay("bfloat16")},
                                                          .sets = {"model.lm_head.dtype=bfloat16", "model.lm_head.dtype=float32"}})),
            Tree("float32"));
}

TEST(Configure, AnOverlayWithAModeChangesThatModeOnly) {
  const Overlay overlay = {.tree = parse_json(R"({"mode": "decode", "model": {"lm_head": {"dtype": "bfloat16"}}})", "overlay"),
                           .name = "overlay o.json"};
  for (const Mode mode : {Mode::prefill, Mode::decode}) {
    const Tree plain = make_model_config(hf_of("v3-tiny"), {.mode = mode});
    const Tree changed = make_model_config(hf_of("v3-tiny"), {.mode = mode, .overlays = {overlay}});
    EXPECT_EQ(with_overlays(plain, {overlay}, {}), changed);
    const auto* dtype = changed.find("model")->find("lm_head")->find("dtype");
    if (mode == Mode::prefill) {
      EXPECT_EQ(changed, plain);
    } else {
      ASSERT_NE(dtype, nullptr);
      EXPECT_EQ(*dtype, Tree("bfloat16"));
    }
  }
  const Overlay other = {.tree = parse_json(R"({"mode": "train"})", "overlay"), .name = "overlay o.json"};
  EXPECT_THAT([&] { make_model_config(hf_of("v3-tiny"), {.overlays = {other}}); },
              ThrowsMessage<ConfigError>(HasSubstr("[overlay o.json mode]")));
}

TEST(Configure, TheFrameOfAFileIsChecked) {
  const Tree document = make_model_config(hf_of("v3-tiny"), {});
  const auto refuse = [&](const char* key, const Tree& value, const char* words) {
    Tree changed = document;
    changed.set(key, value);
    EXPECT_THAT([&] { with_overlays(changed, {}, {}, "a.json"); }, ThrowsMessage<ConfigError>(HasSubstr(words))) << key;
  };
  refuse("devcie", Tree(1), "[a.json] unknown key \"devcie\"; did you mean \"device\"?");
  refuse("format_version", Tree(2), "[a.json] has format_version 2; this program reads version 1");
  Tree without = document;
  std::erase_if(without.object(), [](const Tree::Member& member) { return member.first == "mesh"; });
  EXPECT_THAT([&] { with_overlays(without, {}, {}, "a.json"); }, ThrowsMessage<ConfigError>(HasSubstr("[a.json] has no \"mesh\"")));
}

TEST(Configure, TheMeshShapeChoosesTheModules) {
  const auto modules = [](MeshShape mesh) {
    const Model::Config config = Model::decode_model_config(hf_of("v3-tiny"), {.shape = mesh, .device = {}});
    const DecoderBlock::Config& dense = config.layers.front();
    const DecoderBlock::Config& moe = config.layers.back();
    std::string text;
    if (dense.distributed_rms_norm && moe.distributed_rms_norm && config.distributed_rms_norm) text += "norm ";
    if (dense.mla_1d && moe.mla_1d) text += "mla_1d ";
    if (dense.mla_2d && moe.mla_2d) text += "mla_2d ";
    if (dense.mlp_1d && !moe.mlp_1d) text += "mlp_1d ";
    if (moe.moe_1d && !dense.moe_1d) text += "moe_1d ";
    if (moe.moe_ep && !dense.moe_ep) text += "moe_ep ";
    if (config.lm_head_1d) text += "lm_head_1d ";
    if (config.row_split) text += "row_split ";
    return text;
  };
  EXPECT_EQ(modules({1, 1}), "");
  EXPECT_EQ(modules({1, 3}), "norm mla_1d mlp_1d moe_1d lm_head_1d ");
  EXPECT_EQ(modules({2, 1}), "mla_2d moe_ep row_split ");
  EXPECT_EQ(modules({2, 2}), "norm mla_2d mlp_1d moe_ep lm_head_1d row_split ");
}

TEST(Configure, APipelineHasTheModulesOfOneRowAndSharesOutTheLayers) {
  const auto map_of = [](const std::string& checkpoint, MeshShape mesh) {
    const HfConfig hf = hf_of(checkpoint);
    const MeshDevice devices = {.shape = mesh, .device = {}};
    const Model::Config config = Model::decode_model_config(hf, devices, ParallelPlan::pipeline);
    Model::Config of_row = Model::decode_model_config(hf, {.shape = {1, mesh.cols}, .device = {}});
    of_row.pipeline = config.pipeline;
    EXPECT_EQ(to_tree(config), to_tree(of_row));
    const Model::Config prefill = Model::prefill_model_config(hf, devices, ParallelPlan::pipeline);
    EXPECT_EQ(prefill.pipeline->layer_map, config.pipeline->layer_map);
    EXPECT_GT(prefill.pipeline->chunk_tokens, config.pipeline->chunk_tokens);
    return config.pipeline->layer_map;
  };
  using Rows = std::vector<std::int64_t>;
  EXPECT_EQ(map_of("v3-tiny", {2, 1}), (Rows{0, 0, 1}));
  EXPECT_EQ(map_of("odd-tiny", {3, 2}), (Rows{0, 1, 2}));
  EXPECT_EQ(map_of("v2lite-tiny", {5, 1}), (Rows{0, 1, 2}));
}

TEST(Configure, OnOneRowBothPlansAreTheSame) {
  for (const MeshShape mesh : {MeshShape{1, 1}, MeshShape{1, 2}}) {
    const auto text = [&](ParallelPlan plan) {
      return to_json(make_model_config(hf_of("v3-tiny"), {.mesh = {.shape = mesh, .device = {}}, .plan = plan}));
    };
    EXPECT_EQ(text(ParallelPlan::pipeline), text(ParallelPlan::users));
  }
}

TEST(Configure, AConfigOfAPipelineIsTheSameAfterItWasReadAndWrittenAgain) {
  const Tree document =
      make_model_config(hf_of("v3-tiny"), {.mode = Mode::decode, .mesh = {.shape = {3, 2}, .device = {}}, .plan = ParallelPlan::pipeline});
  const std::string text = to_json(document);
  EXPECT_THAT(text, HasSubstr("\"layer_map\": [0, 1, 2]"));
  EXPECT_EQ(to_json(with_overlays(parse_json(text, "text"), {}, {})), text);
}

TEST(Configure, OneDeviceHasNoMeshOperators) {
  const std::string text = to_json(make_model_config(hf_of("v3-tiny"), {}));
  for (const char* op : {"AllGather", "AllReduce", "ReduceScatter", "AllToAll", "Broadcast"})
    EXPECT_EQ(text.find(op), std::string::npos) << op;
}

TEST(Configure, WeightsOfAMeshHaveTheShapesOfPieces) {
  // hidden 72, inner 100, 3 heads of 28, 5 experts, vocabulary 101 on 2 x 2 devices.
  const MeshDevice mesh = {.shape = {2, 2}, .device = {}};
  const Model::Config config = Model::prefill_model_config(hf_of("odd-tiny"), mesh);
  using Dims = std::vector<std::int64_t>;
  EXPECT_EQ(config.embedding.weight.shape, (Dims{101, 64}));
  EXPECT_EQ(config.layers[0].mla.wq_a->input_tensor_b.shape, (Dims{40, 64}));
  EXPECT_EQ(config.layers[0].mla.wq_b->input_tensor_b.shape, (Dims{2 * 28, 40}));
  EXPECT_EQ(config.layers[0].mla.wo.input_tensor_b.shape, (Dims{72, 2 * 28}));
  EXPECT_EQ(config.layers[0].mlp->w1.input_tensor_b.shape, (Dims{64, 72}));
  EXPECT_EQ(config.layers[0].mlp->w2.input_tensor_b.shape, (Dims{72, 64}));
  EXPECT_EQ(config.layers[1].moe->experts.w1.input_tensor_b.shape, (Dims{2, 40, 72}));
  EXPECT_EQ(config.layers[1].moe_ep->expert_map, (Dims{0, 0, 1, 1, 2}));
  EXPECT_EQ(config.lm_head.input_tensor_b.shape, (Dims{64, 72}));
}

TEST(Configure, ColumnsOfOneRowHaveEqualPartsOfAllExperts) {
  // 5 experts of inner width 40, hidden size 72: on two columns both have a part of each, and none has more to do than the other.
  using Dims = std::vector<std::int64_t>;
  const auto experts_of = [](bool deterministic) {
    const MeshDevice mesh = {.shape = {1, 2}, .device = {}, .deterministic = deterministic};
    return Model::decode_model_config(hf_of("odd-tiny"), mesh).layers[1].moe->experts;
  };
  for (const bool deterministic : {false, true}) {
    EXPECT_EQ(experts_of(deterministic).w1.input_tensor_b.shape, (Dims{5, 32, 72}));
    EXPECT_EQ(experts_of(deterministic).w3.input_tensor_b.shape, (Dims{5, 32, 72}));
  }
  EXPECT_EQ(experts_of(false).w2.input_tensor_b.shape, (Dims{5, 72, 32}));
  EXPECT_EQ(experts_of(true).w2.input_tensor_b.shape, (Dims{5, 64, 40}));
}

TEST(Configure, DeterministicColumnsHaveOutputsOfProductsAndSplitNoSum) {
  const ConfigureOptions options = {.mesh = {.shape = {2, 2}, .device = {}}, .deterministic = true};
  const Tree document = make_model_config(hf_of("odd-tiny"), options);
  EXPECT_EQ(*document.find("deterministic"), Tree(true));
  const std::string text = to_json(document);
  for (const char* op : {"AllReduce", "ReduceScatter"}) EXPECT_EQ(text.find(op), std::string::npos) << op;
  const auto config = from_tree<Model::Config>(*document.find("model"), "model");
  using Dims = std::vector<std::int64_t>;
  EXPECT_EQ(config.layers[0].mla.wq_a->input_tensor_b.shape, (Dims{32, 72}));
  EXPECT_EQ(config.layers[0].mla.wo.input_tensor_b.shape, (Dims{64, 3 * 28}));
  EXPECT_EQ(config.layers[0].mlp->w1.input_tensor_b.shape, (Dims{64, 72}));
  EXPECT_EQ(config.layers[0].mlp->w2.input_tensor_b.shape, (Dims{64, 100}));
  EXPECT_EQ(make_model_config(hf_of("odd-tiny"), {.mesh = options.mesh}).find("deterministic"), nullptr);
}

TEST(Configure, OnlyPrefillGoesThroughTiles) {
  for (const char* checkpoint : {"v2lite-tiny", "v3-tiny", "kimi-tiny"}) {
    for (const char* isa : {"avx2", "avx512_vnni", "amx"}) {
      for (const Mode mode : {Mode::prefill, Mode::decode}) {
        const DeviceDescription device = {.num_cores = 2, .l2_bytes = 2 << 20, .isa = isa};
        const std::string text = to_json(make_model_config(hf_of(checkpoint), {.mode = mode, .mesh = {.device = device}}));
        EXPECT_EQ(text.find("\"tile_rows\": 1") != std::string::npos, mode == Mode::prefill) << checkpoint << ", " << isa;
      }
    }
  }
}

TEST(Configure, NormsBeforeProductsOfDecodeQuantise) {
  const auto config_of = [](Mode mode, MeshShape mesh) {
    const Tree document = make_model_config(hf_of("v3-tiny"), {.mode = mode, .mesh = {.shape = mesh, .device = {}}});
    return from_tree<Model::Config>(*document.find("model"), "model");
  };
  const auto norms_of = [](const Model::Config& config) {
    const DecoderBlock::Config& layer = config.layers.back();
    return std::vector<bool>{layer.input_layernorm.quantise, layer.post_attention_layernorm.quantise, layer.mla.q_norm->quantise,
                             layer.mla.kv_norm.quantise, config.norm.quantise};
  };
  EXPECT_EQ(norms_of(config_of(Mode::decode, {1, 1})), (std::vector<bool>{true, true, true, false, true}));
  EXPECT_EQ(norms_of(config_of(Mode::prefill, {1, 1})), std::vector<bool>(5, false)) << "products of many rows have panels";
  // Columns normalise pieces of tokens; only the latent query is whole.
  EXPECT_EQ(norms_of(config_of(Mode::decode, {1, 2})), (std::vector<bool>{false, false, true, false, false}));
}

TEST(Configure, DeterministicBlocksDoNotDependOnTheMachine) {
  for (const Mode mode : {Mode::prefill, Mode::decode}) {
    const auto model_for = [&](const std::string& isa, std::int64_t l2_bytes) {
      const DeviceDescription device = {.num_cores = 2, .l2_bytes = l2_bytes, .isa = isa};
      const Tree document = make_model_config(hf_of("v3-tiny"), {.mode = mode, .mesh = {.device = device}, .deterministic = true});
      EXPECT_EQ(*document.find("device")->find("isa"), Tree(isa)) << "it still says what it was made for";
      return *document.find("model");
    };
    const Tree model = model_for("avx512", 2 << 20);
    for (const char* isa : {"scalar", "avx2", "avx512_vnni", "amx"}) EXPECT_EQ(model_for(isa, 2 << 20), model) << isa;
    EXPECT_EQ(model_for("avx512", 1 << 12), model);
    EXPECT_EQ(to_json(model).find("\"tile_rows\": 1"), std::string::npos);
  }
}

TEST(Configure, TheFormulasOfTheSoftmaxScaleReachTheConfig) {
  // 48^-0.5 times (0.1 * 0.707 * ln 40 + 1)^2 for v2lite-tiny; no YaRN factor for moonlight-tiny.
  const auto scale_of = [](const std::string& checkpoint) {
    return Model::prefill_model_config(hf_of(checkpoint), {}).layers.front().mla.flash_mla.scale;
  };
  EXPECT_NEAR(scale_of("v2lite-tiny"), 0.14433756729740643 * 1.26080378 * 1.26080378, 1e-8);
  EXPECT_NEAR(scale_of("moonlight-tiny"), 0.14433756729740643, 1e-12);
}

}  // namespace
}  // namespace meshseek

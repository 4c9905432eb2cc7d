// Layers over rows: the answer of one device, and on each row no more than its own layers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "mesh/shards.hpp"
#include "stage3_run/create_run_config.hpp"
#include "tests/sharding/answers.hpp"

namespace meshseek {
namespace {

using testing::batch_prompt;
using testing::checkpoint_folder;
using testing::difference;
using ::testing::ElementsAre;
using testing::Engine;
using ::testing::HasSubstr;
using testing::kLogitsMax;
using testing::MeshEngine;
using testing::MeshMember;
using testing::prompt_of;
using ::testing::ThrowsMessage;

class PipelineAnswers : public ::testing::TestWithParam<std::string> {};

/// Of the checkpoints' three layers a row has two, one or none.
constexpr std::array<MeshShape, 4> kMeshes = {{{2, 1}, {3, 1}, {2, 2}, {5, 1}}};

TEST_P(PipelineAnswers, LogitsAndGreedyTextAreThoseOfOneDevice) {
  testing::expect_same_answers(GetParam(), kMeshes, ParallelPlan::pipeline);
}

TEST_P(PipelineAnswers, ABatchOfUnevenUsersHasTheLogitsOfOneDevice) {
  testing::expect_same_batch(GetParam(), std::array{MeshShape{2, 2}, MeshShape{3, 1}}, ParallelPlan::pipeline);
}

TEST_P(PipelineAnswers, APromptInPiecesAndTheLastLogitsAloneAreThoseOfTheWholePrompt) {
  testing::expect_same_pieces(GetParam(), std::array{MeshShape{2, 2}, MeshShape{5, 1}}, ParallelPlan::pipeline);
}

TEST_P(PipelineAnswers, HiddenStatesAndRoutingAreThoseOfOneDevice) {
  testing::expect_same_trace(GetParam(), std::array{MeshShape{3, 1}, MeshShape{2, 2}, MeshShape{5, 1}}, ParallelPlan::pipeline);
}

TEST_P(PipelineAnswers, APromptInChunksThatRowsWorkAtOnceOnIsTheWholePrompt) {
  const std::vector<std::int64_t> prompt = prompt_of(GetParam(), "64");
  Engine single(checkpoint_folder(GetParam()), {.num_threads = 1});
  const std::vector<float> expected = to_float_vector(single.runner().prefill(prompt, Model::Logits::last).logits);
  const std::vector<float> expected_next = to_float_vector(single.runner().decode(3).logits);
  for (const MeshShape& mesh : {MeshShape{2, 2}, MeshShape{5, 1}}) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(checkpoint_folder(GetParam()), mesh, {.sets = {"model.pipeline.chunk_tokens=10"}, .plan = ParallelPlan::pipeline});
    engine.create_sequences(1);
    engine.prefill(std::span(prompt).first(21), 0, Model::Logits::none);
    const Communicator& first = engine.members()[0]->device->communicator();
    const std::int64_t bytes = first.bytes_sent()[static_cast<std::size_t>(mesh.cols)];
    const Model::Output output = engine.prefill(std::span(prompt).subspan(21), 0, Model::Logits::last);
    EXPECT_LE(difference(to_float_vector(output.logits), expected).max, kLogitsMax);
    const std::int64_t header = 88;
    const std::int64_t piece = column_piece(engine.hf_config().hidden_size, mesh) * 4;
    EXPECT_EQ(first.bytes_sent()[static_cast<std::size_t>(mesh.cols)] - bytes, 5 * header + 43 * piece);  // 10 + 10 + 10 + 10 + 3 tokens
    const std::int64_t id = 3;
    const std::int64_t own = 0;
    EXPECT_LE(difference(to_float_vector(engine.decode(std::span(&id, 1), std::span(&own, 1)).logits), expected_next).max, kLogitsMax);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, PipelineAnswers, ::testing::Values("v2lite-tiny", "v3-tiny", "kimi-tiny", "odd-tiny", "tied-tiny"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// Bytes of the weights that a device has, by the first two words of their place ("layers.1", "norm").
std::map<std::string, std::int64_t> weight_bytes(const Model::Config& config) {
  std::map<std::string, std::int64_t> bytes;
  for_each_weight_slot(config, "", [&](const WeightSlot& slot, const std::string& path) {
    if (!slot.tensor.has_storage()) return;
    const bool in_list = path.starts_with("layers.") || path.starts_with("mtp.");
    bytes[path.substr(0, path.find('.', in_list ? path.find('.') + 1 : 0))] += static_cast<std::int64_t>(slot.tensor.bytes().size());
  });
  return bytes;
}

std::vector<std::string> names_of(const std::map<std::string, std::int64_t>& bytes) {
  std::vector<std::string> names;
  for (const auto& [name, count] : bytes) names.push_back(name);
  return names;
}

TEST(PipelineMemory, ARowHasTheWeightsOfItsLayersAndTheEndsWhatBelongsThere) {
  // MTP modules, which a pipeline does not run, are nobody's.
  MeshEngine alone(checkpoint_folder("v3-tiny"), {1, 2});
  const std::map<std::string, std::int64_t> all = weight_bytes(alone.members()[0]->decode);
  MeshEngine engine(checkpoint_folder("v3-tiny"), {3, 2}, {.plan = ParallelPlan::pipeline});
  const auto of_rank = [&](std::size_t rank) { return weight_bytes(engine.members()[rank]->decode); };
  EXPECT_THAT(names_of(of_rank(0)), ElementsAre("embedding", "layers.0"));
  EXPECT_THAT(names_of(of_rank(2)), ElementsAre("layers.1"));
  EXPECT_THAT(names_of(of_rank(4)), ElementsAre("layers.2", "lm_head", "norm"));
  for (const std::size_t rank : {0, 2, 4}) {
    for (const auto& [name, bytes] : of_rank(rank)) EXPECT_EQ(bytes, all.at(name)) << name << " on rank " << rank;
  }
  for (const std::size_t rank : {0, 2, 4}) EXPECT_EQ(names_of(of_rank(rank)), names_of(of_rank(rank + 1)));
}

TEST(PipelineMemory, ALayersLatentsLieOnItsRowAlone) {
  MeshEngine engine(checkpoint_folder("v2lite-tiny"), {2, 2}, {.plan = ParallelPlan::pipeline});
  engine.create_sequences(2);
  for (std::int64_t idx = 0; idx < 2; ++idx) engine.prefill(batch_prompt(idx), idx, Model::Logits::none);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    for (std::size_t idx = 0; idx < 2; ++idx) {
      const Model::State& state = engine.members()[rank]->sequences[idx];
      ASSERT_EQ(state.layers.size(), 3U);
      for (std::size_t layer = 0; layer < 3; ++layer) {
        EXPECT_EQ(state.layers[layer].rows.has_storage(), (layer < 2 ? 0U : 1U) == rank / 2) << "layer " << layer << " on rank " << rank;
        EXPECT_EQ(state.layers[layer].num_tokens, static_cast<std::int64_t>(3 + 7 * idx));
      }
    }
  }
}

TEST(PipelineConfig, AnOverlayReachesALayerOfAnotherRow) {
  const std::vector<std::int64_t> prompt = prompt_of("v3-tiny", "7");
  const std::string set = "model.layers.2.**.math_fidelity=HiFi2";
  Engine plain(checkpoint_folder("v3-tiny"), {.num_threads = 1});
  Engine changed(checkpoint_folder("v3-tiny"), {.sets = {set}, .num_threads = 1});
  MeshEngine engine(checkpoint_folder("v3-tiny"), {3, 1}, {.sets = {set}, .plan = ParallelPlan::pipeline});
  engine.create_sequences(1);
  const std::vector<float> logits = to_float_vector(engine.prefill(prompt, 0, Model::Logits::all).logits);
  const auto logits_of = [&](Engine& single) { return to_float_vector(single.runner().prefill(prompt, Model::Logits::all).logits); };
  EXPECT_LE(difference(logits, logits_of(changed)).max, kLogitsMax);
  EXPECT_GT(difference(logits, logits_of(plain)).max, kLogitsMax);
}

TEST(PipelineConfig, LayersMayBeSharedOutByHand) {
  const std::vector<std::int64_t> prompt = prompt_of("v3-tiny", "7");
  Engine single(checkpoint_folder("v3-tiny"), {.num_threads = 1});
  MeshEngine engine(checkpoint_folder("v3-tiny"), {2, 1}, {.sets = {"model.pipeline.layer_map=[1, 1, 1]"}, .plan = ParallelPlan::pipeline});
  engine.create_sequences(1);
  EXPECT_THAT(names_of(weight_bytes(engine.members()[0]->prefill)), ElementsAre("embedding"));
  EXPECT_LE(difference(to_float_vector(engine.prefill(prompt, 0, Model::Logits::last).logits),
                       to_float_vector(single.runner().prefill(prompt, Model::Logits::last).logits))
                .max,
            kLogitsMax);
}

TEST(PipelineConfig, WhatCannotBeOnTheWireIsRefused) {
  EXPECT_THAT(
      [&] {
        MeshEngine(checkpoint_folder("v2lite-tiny"), {2, 1}, {.sets = {"model.pipeline.send.dtype=int32"}, .plan = ParallelPlan::pipeline});
      },
      ThrowsMessage<ConfigError>(HasSubstr("[model.pipeline.send.dtype]")));
}

TEST(PipelineMtp, IsRefusedWithOneLine) {
  MeshEngine engine(checkpoint_folder("v3-tiny"), {2, 1}, {.plan = ParallelPlan::pipeline});
  engine.create_sequences(1);
  EXPECT_THAT([&] { engine.mtp(prompt_of("v3-tiny", "7"), 0); },
              ThrowsMessage<Error>(HasSubstr("[mtp] multi-token prediction on a mesh of several rows is not supported")));
}

/// A store and the configs of a plan on a mesh.
class PipelineRunner : public ::testing::Test {
 protected:
  PipelineRunner() { convert_checkpoint(checkpoint_folder("v3-tiny"), store(), {.dtype = DataType::float32}); }
  Path store() const { return folder_.path() / "store"; }
  /// One device, or with more rows a pipeline.
  Tree config(Mode mode, const MeshShape& mesh, const std::vector<std::string>& sets = {}) const {
    return make_model_config(read_hf_config(store()), {.mode = mode,
                                                       .mesh = {.shape = mesh, .device = {}},
                                                       .plan = ParallelPlan::pipeline,
                                                       .weight_dtype = DataType::float32,
                                                       .sets = sets});
  }
  void refuse(const Tree& prefill, const Tree& decode, const std::string& words) const {
    EXPECT_THAT([&] { make_run_plan(store(), prefill, decode, {}); }, ThrowsMessage<ConfigError>(HasSubstr(words)));
  }

  static constexpr MeshShape kOne = {1, 1};
  static constexpr MeshShape kPipeline = {2, 1};

 private:
  TemporaryFolder folder_;
};

TEST_F(PipelineRunner, NeedsNothingButTheConfigsAndCountsWhatItLoads) {
  const std::vector<std::int64_t> prompt = prompt_of("v3-tiny", "7");
  Runner alone(store(), config(Mode::prefill, kOne), config(Mode::decode, kOne), {.num_threads = 1});
  Runner runner(store(), config(Mode::prefill, kPipeline), config(Mode::decode, kPipeline), {.num_threads = 1});
  EXPECT_EQ(runner.mesh(), (MeshShape{2, 1}));
  EXPECT_LT(runner.weight_bytes(), alone.weight_bytes());  // the files of the first row
  EXPECT_LT(runner.num_tensor_files(), alone.num_tensor_files());
  const Sequence other = runner.copy_sequence();
  const auto last = [&](Runner& of) { return to_float_vector(of.prefill(prompt, Model::Logits::last).logits); };
  EXPECT_LE(difference(last(runner), last(alone)).max, kLogitsMax);
  const Sequence copy = runner.copy_sequence();  // each row copies the latents of its layers
  const auto slots = std::array{copy.slot(), Runner::kOwn};
  const std::vector<float> logits = to_float_vector(runner.decode(std::array<std::int64_t, 2>{5, 9}, slots).logits);
  const std::vector<float> expected = to_float_vector(alone.decode(9).logits);
  EXPECT_LE(difference(std::span(logits).last(expected.size()), expected).max, kLogitsMax);
  EXPECT_EQ(other.num_tokens(), 0);
  EXPECT_EQ(copy.num_tokens(), 8);
}

TEST_F(PipelineRunner, RefusesInEitherConfigWhatCannotBeBeforeAnythingIsLoaded) {
  const auto refuse_set = [&](const std::string& set, const std::string& words) {
    refuse(config(Mode::prefill, kPipeline, {set}), config(Mode::decode, kPipeline), words);
    refuse(config(Mode::prefill, kPipeline), config(Mode::decode, kPipeline, {set}), words);
  };
  const std::string map = "[model.pipeline.layer_map] ";
  refuse_set("model.pipeline.layer_map=[0, 1]", map + "[0, 1]; expected a row for each of 3 layers, from 0 to 1");
  refuse_set("model.pipeline.layer_map=[0, 1, 2]", map + "[0, 1, 2]; expected");
  refuse_set("model.pipeline.layer_map=[1, 0, 1]", map + "[1, 0, 1]; expected");
  refuse_set("model.pipeline.layer_map=[-1, 0, 1]", map + "[-1, 0, 1]; expected");
  refuse_set("model.pipeline.chunk_tokens=-1", "[model.pipeline.chunk_tokens] -1; expected at least 1");
  refuse_set("model.pipeline.send.to=1", "[model.pipeline] \"to\" or \"from\" is set");
}

TEST_F(PipelineRunner, RefusesConfigsThatDoNotFitEachOtherOrTheStore) {
  const Tree prefill = config(Mode::prefill, kPipeline);
  refuse(prefill, config(Mode::decode, kOne), "[decode config] is for mesh 1x1 but the prefill config for mesh 2x1 as a pipeline");
  refuse(prefill, config(Mode::decode, kPipeline, {"model.pipeline.layer_map=[0, 1, 1]"}),
         "layers on rows [0, 1, 1] but the prefill config for mesh 2x1 as a pipeline with layers on rows [0, 0, 1]; expected the same "
         "mesh, plan");
  refuse(config(Mode::prefill, {2, 2}), prefill,
         "[prefill config] is for mesh 2x2 as a pipeline but the store is for mesh 1x1; expected a store for one row, 1x2");
}

}  // namespace
}  // namespace meshseek

// The same answer everywhere: every mesh gives the logits and the greedy text of one device (float32 weights, float32 on the wire).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "tests/sharding/answers.hpp"

namespace meshseek {
namespace {

using testing::batch_prompt;
using testing::checkpoint_folder;
using testing::difference;
using testing::Engine;
using testing::expect_same_answers;
using testing::expect_same_batch;
using testing::expect_same_pieces;
using testing::expect_same_trace;
using testing::kLogitsMax;
using testing::MeshEngine;
using testing::prompt_of;

class MeshAnswers : public ::testing::TestWithParam<std::string> {};

constexpr std::array<MeshShape, 7> kMeshes = {{{1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 4}, {4, 2}, {1, 3}}};

TEST_P(MeshAnswers, LogitsAndGreedyTextAreThoseOfOneDevice) { expect_same_answers(GetParam(), kMeshes, ParallelPlan::users); }

TEST_P(MeshAnswers, ABatchOfUnevenUsersHasTheLogitsOfOneDevice) {
  expect_same_batch(GetParam(), std::array{MeshShape{1, 3}, MeshShape{2, 2}, MeshShape{4, 2}}, ParallelPlan::users);
}

TEST_P(MeshAnswers, APromptInPiecesAndTheLastLogitsAloneAreThoseOfTheWholePrompt) {
  expect_same_pieces(GetParam(), std::array{MeshShape{1, 2}, MeshShape{2, 1}, MeshShape{4, 2}}, ParallelPlan::users);
}

TEST_P(MeshAnswers, HiddenStatesAndRoutingAreThoseOfOneDevice) {
  expect_same_trace(GetParam(), std::array{MeshShape{1, 3}, MeshShape{2, 2}}, ParallelPlan::users);
}

INSTANTIATE_TEST_SUITE_P(Families, MeshAnswers,
                         ::testing::Values("v2lite-tiny", "v2-tiny", "v3-tiny", "v3-tiny-fp8", "v3-tiny-fp8-ue8m0", "moonlight-tiny",
                                           "kimi-tiny", "odd-tiny", "tied-tiny"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(MeshStores, AReshardedStoreGivesTheBitsOfAConvertedOne) {
  for (const char* name : {"v3-tiny", "odd-tiny", "tied-tiny"}) {
    for (const MeshShape& mesh : {MeshShape{1, 3}, MeshShape{2, 2}}) {
      SCOPED_TRACE(std::string(name) + " " + to_string(mesh));
      const TemporaryFolder folder;
      convert_checkpoint(checkpoint_folder(name), folder.path() / "one", {});
      reshard_store(folder.path() / "one", folder.path() / "resharded", {.mesh = mesh});
      const std::vector<std::int64_t> prompt = prompt_of(name, "7");
      std::vector<std::vector<float>> logits;
      for (const Path& source : {checkpoint_folder(name), folder.path() / "resharded"}) {
        MeshEngine engine(source, mesh, {.dtype = DataType::bfloat8_b});
        engine.create_sequences(1);
        logits.push_back(to_float_vector(engine.prefill(prompt, 0, Model::Logits::all).logits));
      }
      EXPECT_EQ(logits[0], logits[1]);
    }
  }
}

TEST(MeshRouting, AllColumnsOfARowChooseTheSameExperts) {
  MeshEngine engine(checkpoint_folder("v3-tiny"), {1, 3}, {.dtype = DataType::bfloat8_b});
  engine.create_sequences(1);
  const std::vector<std::int64_t> prompt = prompt_of("v3-tiny", "64");
  const std::vector<std::uint32_t> ids(prompt.begin(), prompt.end());
  const Model model(engine.hf_config(), MeshDevice{.shape = engine.mesh(), .device = {}});
  std::vector<Model::Trace> traces(3);
  engine.on_all([&](std::int64_t rank, testing::MeshMember& member) {
    Model::State* one = &member.sequences.front();
    const Tensor tokens = Tensor::from<std::uint32_t>({static_cast<std::int64_t>(ids.size())}, ids, member.device.get());
    model.forward(tokens, member.prefill, std::span(&one, 1), Model::Logits::none, &traces[static_cast<std::size_t>(rank)]);
  });
  for (std::size_t layer = 0; layer < traces[0].routing.size(); ++layer) {
    if (!traces[0].routing[layer]) continue;
    for (const std::size_t col : {1, 2}) {
      EXPECT_TRUE(std::ranges::equal(traces[0].routing[layer]->indices.bytes(), traces[col].routing[layer]->indices.bytes()));
      EXPECT_TRUE(std::ranges::equal(traces[0].routing[layer]->weights.bytes(), traces[col].routing[layer]->weights.bytes()));
    }
  }
}

TEST(MeshCaches, OnlyTheOwnerOfASequenceKeepsItsLatents) {
  MeshEngine engine(checkpoint_folder("v2lite-tiny"), {2, 2});
  engine.create_sequences(4);
  for (std::int64_t idx = 0; idx < 4; ++idx) engine.prefill(batch_prompt(idx), idx, Model::Logits::none);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    for (std::size_t idx = 0; idx < 4; ++idx) {
      const Model::State& state = engine.members()[rank]->sequences[idx];
      EXPECT_EQ(state.num_tokens(), static_cast<std::int64_t>(3 + 7 * idx));
      for (const LatentCache& cache : state.layers) EXPECT_EQ(cache.rows.has_storage(), rank == idx);
    }
  }
}

TEST(MeshMtp, LogitsOnColumnsAreThoseOfOneDevice) {
  const std::vector<std::int64_t> prompt = prompt_of("v3-tiny", "64");
  Engine single(checkpoint_folder("v3-tiny"));
  const Model::Output main = single.runner().prefill(prompt, Model::Logits::none);
  const std::vector<float> expected = to_float_vector(single.runner().mtp(main, prompt).logits);
  for (const MeshShape& mesh : {MeshShape{1, 2}, MeshShape{1, 3}}) {
    MeshEngine engine(checkpoint_folder("v3-tiny"), mesh);
    engine.create_sequences(1);
    EXPECT_LE(difference(to_float_vector(engine.mtp(prompt, 0).logits), expected).max, kLogitsMax) << to_string(mesh);
  }
}

TEST(MeshForms, AnAttentionThatDoesNotFitTheTokensOfRowsIsRefused) {
  MeshEngine engine(checkpoint_folder("v3-tiny"), {2, 1}, {.sets = {"model.row_split.tokens_over_rows=users"}});
  engine.create_sequences(1);
  EXPECT_THAT([&] { engine.prefill(prompt_of("v3-tiny", "7"), 0, Model::Logits::last); },
              ::testing::ThrowsMessage<ConfigError>(::testing::HasSubstr("[model.layers.0.mla.flash_mla.form] naive with")));
}

TEST(MeshMtp, SeveralRowsAreRefusedWithOneLine) {
  MeshEngine engine(checkpoint_folder("v3-tiny"), {2, 1});
  engine.create_sequences(1);
  EXPECT_THAT(
      [&] { engine.mtp(prompt_of("v3-tiny", "7"), 0); },
      ::testing::ThrowsMessage<Error>(::testing::HasSubstr("[mtp] multi-token prediction on a mesh of several rows is not supported")));
}

}  // namespace
}  // namespace meshseek

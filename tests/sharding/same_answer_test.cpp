// The same answer everywhere: every mesh gives the logits and the greedy text of one device (float32 weights, float32 on the wire).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "tests/support/mesh_engine.hpp"

namespace meshseek {
namespace {

using testing::Arrays;
using testing::difference;
using testing::Engine;
using testing::MeshEngine;
using testing::row_of;

constexpr double kLogitsMax = 1e-4;
constexpr std::int64_t kGreedySteps = 8;

Path checkpoint_folder(const std::string& name) { return testing::data_folder() / "checkpoints" / name; }

std::vector<std::int64_t> prompt_of(const std::string& checkpoint, const std::string& suffix) {
  return Arrays(checkpoint_folder(checkpoint) / "golden.safetensors").integers("ids_" + suffix);
}

std::int64_t largest(std::span<const float> logits) { return std::max_element(logits.begin(), logits.end()) - logits.begin(); }

/// What the tests compare, from one device and from a mesh.
struct Answer {
  std::vector<float> prompt_logits = {};               ///< of all positions
  std::vector<std::vector<float>> decode_logits = {};  ///< of each greedy step
  std::vector<std::int64_t> greedy = {};
};

template <class Prefill, class Decode>
Answer answer(std::span<const std::int64_t> prompt, std::int64_t vocab_size, const Prefill& prefill, const Decode& decode) {
  Answer result = {.prompt_logits = to_float_vector(prefill(prompt))};
  std::span<const float> last = row_of(result.prompt_logits, static_cast<std::int64_t>(prompt.size()) - 1, vocab_size);
  for (std::int64_t step = 0; step < kGreedySteps; ++step) {
    result.greedy.push_back(largest(last));
    result.decode_logits.push_back(to_float_vector(decode(result.greedy.back())));
    last = result.decode_logits.back();
  }
  return result;
}

Answer answer_of(Runner& runner, std::span<const std::int64_t> prompt) {
  return answer(
      prompt, runner.hf_config().vocab_size, [&](auto ids) { return runner.prefill(ids, Model::Logits::all).logits; },
      [&](std::int64_t id) { return runner.decode(id).logits; });
}

Answer answer_of(MeshEngine& engine, std::span<const std::int64_t> prompt, std::int64_t sequence_idx) {
  return answer(
      prompt, engine.hf_config().vocab_size, [&](auto ids) { return engine.prefill(ids, sequence_idx, Model::Logits::all).logits; },
      [&](std::int64_t id) { return engine.decode(std::span(&id, 1), std::span(&sequence_idx, 1)).logits; });
}

void expect_equal(const Answer& actual, const Answer& expected) {
  EXPECT_LE(difference(actual.prompt_logits, expected.prompt_logits).max, kLogitsMax) << "logits of the prompt";
  EXPECT_EQ(actual.greedy, expected.greedy);
  for (std::size_t step = 0; step < expected.decode_logits.size(); ++step)
    EXPECT_LE(difference(actual.decode_logits[step], expected.decode_logits[step]).max, kLogitsMax) << "decode step " << step;
}

class MeshAnswers : public ::testing::TestWithParam<std::string> {
 protected:
  Path folder() const { return checkpoint_folder(GetParam()); }
};

const std::vector<MeshShape> kMeshes = {{1, 1}, {1, 2}, {2, 1}, {2, 2}, {1, 4}, {4, 2}, {1, 3}};

TEST_P(MeshAnswers, LogitsAndGreedyTextAreThoseOfOneDevice) {
  Engine single(folder(), {.num_threads = 1});
  std::vector<Answer> expected;
  for (const std::string suffix : {"1", "7", "64"}) {
    single.runner().reset();
    expected.push_back(answer_of(single.runner(), prompt_of(GetParam(), suffix)));
  }
  for (const MeshShape& mesh : kMeshes) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(folder(), mesh);
    engine.create_sequences(3);
    std::int64_t sequence_idx = 2;  // the first one's owner is another device than the first
    for (const std::string suffix : {"1", "7", "64"}) {
      SCOPED_TRACE("prompt of " + suffix);
      expect_equal(answer_of(engine, prompt_of(GetParam(), suffix), sequence_idx), expected[static_cast<std::size_t>(2 - sequence_idx)]);
      --sequence_idx;
    }
  }
}

/// Prompts of 3, 10, 17, ... tokens.
std::vector<std::int64_t> batch_prompt(std::int64_t idx) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(3 + 7 * idx));
  for (std::size_t token = 0; token < ids.size(); ++token) ids[token] = static_cast<std::int64_t>(token * 13 + 5) % 83 + idx;
  return ids;
}

TEST_P(MeshAnswers, ABatchOfUnevenUsersHasTheLogitsOfOneDevice) {
  constexpr std::int64_t kUsers = 5;
  Engine single(folder(), {.num_threads = 1});
  const std::vector<std::int64_t> idxs = {3, 0, 4, 1, 2};  // rows of the mesh come in another order than users
  const std::vector<std::int64_t> ids = {7, 19, 23, 31, 2};
  std::vector<std::vector<float>> expected;
  for (std::size_t user = 0; user < idxs.size(); ++user) {
    single.runner().reset();
    single.runner().prefill(batch_prompt(idxs[user]), Model::Logits::none);
    expected.push_back(to_float_vector(single.runner().decode(ids[user]).logits));
  }
  for (const MeshShape& mesh : {MeshShape{1, 3}, MeshShape{2, 2}, MeshShape{4, 2}}) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(folder(), mesh);
    engine.create_sequences(kUsers);
    for (std::int64_t idx = 0; idx < kUsers; ++idx) engine.prefill(batch_prompt(idx), idx, Model::Logits::none);
    const std::vector<float> logits = to_float_vector(engine.decode(ids, idxs).logits);
    const std::int64_t vocab_size = engine.hf_config().vocab_size;
    ASSERT_EQ(logits.size(), ids.size() * static_cast<std::size_t>(vocab_size));
    for (std::size_t user = 0; user < idxs.size(); ++user) {
      EXPECT_LE(difference(row_of(logits, static_cast<std::int64_t>(user), vocab_size), expected[user]).max, kLogitsMax) << "user " << user;
    }
  }
}

TEST_P(MeshAnswers, APromptInPiecesAndTheLastLogitsAloneAreThoseOfTheWholePrompt) {
  const std::vector<std::int64_t> prompt = prompt_of(GetParam(), "64");
  Engine single(folder(), {.num_threads = 1});
  const std::vector<float> expected = to_float_vector(single.runner().prefill(prompt, Model::Logits::last).logits);
  for (const MeshShape& mesh : {MeshShape{1, 2}, MeshShape{2, 1}, MeshShape{4, 2}}) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(folder(), mesh);
    engine.create_sequences(2);
    std::vector<float> logits;
    std::size_t begin = 0;
    for (const std::size_t size : {std::size_t{1}, std::size_t{20}, std::size_t{2}, std::size_t{41}}) {
      logits = to_float_vector(engine.prefill(std::span(prompt).subspan(begin, size), 1, Model::Logits::last).logits);
      begin += size;
    }
    ASSERT_EQ(begin, prompt.size());
    EXPECT_LE(difference(logits, expected).max, kLogitsMax);
  }
}

TEST_P(MeshAnswers, HiddenStatesAndRoutingAreThoseOfOneDevice) {
  const std::vector<std::int64_t> prompt = prompt_of(GetParam(), "7");
  Engine single(folder(), {.num_threads = 1});
  Model::Trace expected;
  single.runner().prefill(prompt, Model::Logits::all, &expected);
  for (const MeshShape& mesh : {MeshShape{1, 3}, MeshShape{2, 2}}) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(folder(), mesh);
    engine.create_sequences(1);
    Model::Trace trace;
    engine.prefill(prompt, 0, Model::Logits::all, &trace);
    ASSERT_EQ(trace.hidden.size(), expected.hidden.size());
    for (std::size_t idx = 0; idx < trace.hidden.size(); ++idx)
      EXPECT_LE(difference(to_float_vector(trace.hidden[idx]), to_float_vector(expected.hidden[idx])).max, kLogitsMax) << "hidden " << idx;
    ASSERT_EQ(trace.routing.size(), expected.routing.size());
    for (std::size_t idx = 0; idx < trace.routing.size(); ++idx) {
      ASSERT_EQ(trace.routing[idx].has_value(), expected.routing[idx].has_value());
      if (!trace.routing[idx]) continue;
      const auto chosen = trace.routing[idx]->indices.data<std::int32_t>();
      EXPECT_THAT(chosen, ::testing::ElementsAreArray(expected.routing[idx]->indices.data<std::int32_t>())) << "layer " << idx;
    }
  }
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

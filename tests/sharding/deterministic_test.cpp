// Deterministic configs: the same bits on every mesh, with any number of threads, in any batch, for a prompt in any pieces (the standard block-float weights).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "ops/softmax.hpp"
#include "tests/sharding/answers.hpp"

namespace meshseek {
namespace {

using testing::checkpoint_folder;
using testing::MeshEngine;
using testing::row_of;

constexpr std::int64_t kSteps = 4;

/// 104 tokens: attention goes over two blocks of 64.
std::vector<std::int64_t> prompt_of(const std::string& checkpoint) {
  std::vector<std::int64_t> ids = testing::prompt_of(checkpoint, "64");
  const std::vector<std::int64_t> again(ids.rbegin(), ids.rbegin() + 40);
  ids.insert(ids.end(), again.begin(), again.end());
  return ids;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

/// What one way of running a model gives.
struct Results {
  std::vector<std::string> names = {};
  std::vector<std::vector<float>> values = {};
  void add(const std::string& name, const Tensor& tensor) {
    names.push_back(name);
    values.push_back(to_float_vector(tensor));
  }
};

/// Names of the results that differ.
std::vector<std::string> differences(const Results& a, const Results& b) {
  std::vector<std::string> names;
  for (std::size_t idx = 0; idx < a.names.size(); ++idx) {
    if (idx >= b.names.size() || !same_bits(a.values[idx], b.values[idx])) names.push_back(a.names[idx]);
  }
  return names;
}

/// Logits of a prompt and what led to them, then of greedy decode steps.
Results results_of(const std::string& checkpoint, const MeshShape& mesh, const testing::EngineOptions& options) {
  MeshEngine engine(checkpoint_folder(checkpoint), mesh, options);
  engine.create_sequences(2);
  const std::int64_t sequence_idx = 1;  // its owner is not the first device
  Results results;
  Model::Trace trace;
  const Tensor logits = engine.prefill(prompt_of(checkpoint), sequence_idx, Model::Logits::all, &trace).logits;
  for (std::size_t idx = 0; idx < trace.hidden.size(); ++idx) results.add("hidden " + std::to_string(idx), trace.hidden[idx]);
  for (std::size_t idx = 0; idx < trace.routing.size(); ++idx) {
    if (trace.routing[idx]) results.add("router weights " + std::to_string(idx), trace.routing[idx]->weights);
  }
  results.add("logits of the prompt", logits);
  std::vector<float> last = to_float_vector(logits);
  last.erase(last.begin(), last.end() - engine.hf_config().vocab_size);
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const std::int64_t id = argmax(last);
    results.add("decode step " + std::to_string(step), engine.decode(std::span(&id, 1), std::span(&sequence_idx, 1)).logits);
    last = results.values.back();
  }
  return results;
}

testing::EngineOptions deterministic(std::size_t num_threads = 1, DataType dtype = DataType::bfloat8_b) {
  return {.deterministic = true, .dtype = dtype, .num_threads = num_threads};
}

class Deterministic : public ::testing::TestWithParam<std::string> {};

TEST_P(Deterministic, EveryMeshHasTheBitsOfOneDevice) {
  const Results expected = results_of(GetParam(), {1, 1}, deterministic());
  for (const MeshShape& mesh : {MeshShape{1, 2}, MeshShape{2, 1}, MeshShape{2, 2}, MeshShape{1, 3}, MeshShape{1, 4}, MeshShape{4, 2}}) {
    EXPECT_THAT(differences(expected, results_of(GetParam(), mesh, deterministic())), ::testing::IsEmpty()) << to_string(mesh);
  }
}

TEST_P(Deterministic, APipelineHasTheBitsOfOneDevice) {
  const Results expected = results_of(GetParam(), {1, 1}, deterministic());
  testing::EngineOptions options = deterministic();
  options.plan = ParallelPlan::pipeline;
  for (const MeshShape& mesh : {MeshShape{2, 1}, MeshShape{2, 2}}) {
    EXPECT_THAT(differences(expected, results_of(GetParam(), mesh, options)), ::testing::IsEmpty()) << to_string(mesh);
  }
}

TEST_P(Deterministic, Float32WeightsToo) {
  const Results expected = results_of(GetParam(), {1, 1}, deterministic(1, DataType::float32));
  for (const MeshShape& mesh : {MeshShape{1, 3}, MeshShape{2, 2}}) {
    EXPECT_THAT(differences(expected, results_of(GetParam(), mesh, deterministic(1, DataType::float32))), ::testing::IsEmpty())
        << to_string(mesh);
  }
}

TEST_P(Deterministic, AnyNumberOfThreadsHasTheBitsOfOne) {
  const Results expected = results_of(GetParam(), {1, 1}, deterministic());
  for (const std::size_t num_threads : {std::size_t{2}, std::size_t{3}}) {
    for (const MeshShape& mesh : {MeshShape{1, 1}, MeshShape{1, 2}}) {
      EXPECT_THAT(differences(expected, results_of(GetParam(), mesh, deterministic(num_threads))), ::testing::IsEmpty())
          << to_string(mesh) << ", " << num_threads << " threads";
    }
  }
}

/// The last logits of a prompt that comes in pieces.
std::vector<float> last_logits(const std::string& checkpoint, const MeshShape& mesh, const std::vector<std::size_t>& sizes) {
  MeshEngine engine(checkpoint_folder(checkpoint), mesh, deterministic());
  engine.create_sequences(1);
  const std::vector<std::int64_t> prompt = prompt_of(checkpoint);
  std::vector<float> logits;
  std::size_t begin = 0;
  for (const std::size_t size : sizes) {
    logits = to_float_vector(engine.prefill(std::span(prompt).subspan(begin, size), 0, Model::Logits::last).logits);
    begin += size;
  }
  EXPECT_EQ(begin, prompt.size());
  return logits;
}

TEST_P(Deterministic, APromptInPiecesHasTheBitsOfTheWholePrompt) {
  const std::vector<float> expected = last_logits(GetParam(), {1, 1}, {104});
  for (const MeshShape& mesh : {MeshShape{1, 1}, MeshShape{1, 2}, MeshShape{2, 2}}) {
    EXPECT_TRUE(same_bits(last_logits(GetParam(), mesh, {1, 60, 2, 41}), expected)) << to_string(mesh);
    EXPECT_TRUE(same_bits(last_logits(GetParam(), mesh, {33, 71}), expected)) << to_string(mesh);
  }
}

TEST_P(Deterministic, AUserOfABatchHasTheBitsThatItHasAlone) {
  constexpr std::int64_t kUsers = 9;
  const std::vector<std::int64_t> prompt = prompt_of(GetParam());
  const auto prompt_of_user = [&](std::int64_t user) { return std::span(prompt).subspan(0, static_cast<std::size_t>(3 + 7 * user)); };
  MeshEngine single(checkpoint_folder(GetParam()), {1, 1}, deterministic());
  std::vector<std::vector<float>> expected;
  single.create_sequences(kUsers);
  for (std::int64_t user = 0; user < kUsers; ++user) {
    single.prefill(prompt_of_user(user), user, Model::Logits::none);
    expected.push_back(to_float_vector(single.decode(std::span(prompt).last(1), std::span(&user, 1)).logits));
  }
  const std::vector<std::int64_t> users = {3, 0, 8, 4, 7, 1, 2, 6, 5};
  const std::vector<std::int64_t> ids(users.size(), prompt.back());
  for (const MeshShape& mesh : {MeshShape{1, 1}, MeshShape{1, 2}, MeshShape{2, 2}, MeshShape{1, 3}}) {
    MeshEngine engine(checkpoint_folder(GetParam()), mesh, deterministic(2));
    engine.create_sequences(kUsers);
    for (std::int64_t user = 0; user < kUsers; ++user) engine.prefill(prompt_of_user(user), user, Model::Logits::none);
    const std::vector<float> logits = to_float_vector(engine.decode(ids, users).logits);
    for (std::size_t row = 0; row < users.size(); ++row) {
      const auto place = static_cast<std::int64_t>(row);
      EXPECT_TRUE(same_bits(row_of(logits, place, engine.hf_config().vocab_size), expected[static_cast<std::size_t>(users[row])]))
          << to_string(mesh) << " user " << users[row];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Deterministic,
                         ::testing::Values("v2lite-tiny", "v2-tiny", "v3-tiny", "moonlight-tiny", "kimi-tiny", "odd-tiny", "tied-tiny"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(NotDeterministic, MeshesDifferInTheirLastBits) {
  const testing::EngineOptions standard = {.dtype = DataType::bfloat8_b, .num_threads = 1};
  const Results expected = results_of("v3-tiny", {1, 1}, standard);
  EXPECT_THAT(differences(expected, results_of("v3-tiny", {1, 2}, standard)), ::testing::Contains("logits of the prompt"));
}

TEST(DeterministicMtp, ColumnsHaveTheBitsOfOneDevice) {
  const std::vector<std::int64_t> prompt = prompt_of("v3-tiny");
  const auto logits_of = [&](const MeshShape& mesh, const std::vector<std::string>& sets) {
    testing::EngineOptions options = deterministic();
    options.sets = sets;
    MeshEngine engine(checkpoint_folder("v3-tiny"), mesh, options);
    engine.create_sequences(1);
    return to_float_vector(engine.mtp(prompt, 0).logits);
  };
  for (const char* source : {"post_norm", "pre_norm"}) {
    const std::vector<std::string> sets = {std::string("model.mtp.0.hidden_source=") + source};
    const std::vector<float> expected = logits_of({1, 1}, sets);
    for (const MeshShape& mesh : {MeshShape{1, 2}, MeshShape{1, 3}}) {
      EXPECT_TRUE(same_bits(logits_of(mesh, sets), expected)) << source << " " << to_string(mesh);
    }
  }
}

/// Logits of a store that was converted for the mesh.
std::vector<float> logits_of_store(const Path& store, const MeshShape& mesh, const std::string& checkpoint, bool is_deterministic) {
  MeshEngine engine(store, mesh, {.deterministic = is_deterministic, .dtype = DataType::bfloat8_b});
  engine.create_sequences(1);
  return to_float_vector(engine.prefill(prompt_of(checkpoint), 0, Model::Logits::all).logits);
}

/// Stores of 1x1, 1x2 and 2x2 (deterministic) become stores of 1x3 of both kinds. \param sources of these
void expect_resharded_are_converted(const std::string& checkpoint, const std::vector<std::string>& sources) {
  const MeshShape mesh = {1, 3};
  const TemporaryFolder folder;
  convert_checkpoint(checkpoint_folder(checkpoint), folder.path() / "whole", {});
  convert_checkpoint(checkpoint_folder(checkpoint), folder.path() / "cut_along_inputs", {.mesh = {1, 2}});
  convert_checkpoint(checkpoint_folder(checkpoint), folder.path() / "cut_along_outputs", {.mesh = {2, 2}, .deterministic = true});
  for (const bool is_deterministic : {true, false}) {
    const ConvertOptions options = {.mesh = mesh, .deterministic = is_deterministic};
    const Path direct = folder.path() / (is_deterministic ? "direct_outputs" : "direct_inputs");
    convert_checkpoint(checkpoint_folder(checkpoint), direct, options);
    const std::vector<float> expected = logits_of_store(direct, mesh, checkpoint, is_deterministic);
    for (const std::string& source : sources) {
      const Path resharded = direct.string() + "_from_" + source;
      reshard_store(folder.path() / source, resharded, options);
      EXPECT_TRUE(same_bits(logits_of_store(resharded, mesh, checkpoint, is_deterministic), expected)) << resharded.filename();
    }
  }
}

TEST(DeterministicStores, AReshardedStoreGivesTheBitsOfAConvertedOne) {
  expect_resharded_are_converted("v3-tiny", {"whole", "cut_along_inputs", "cut_along_outputs"});
  // Its heads cut blocks that share an exponent: nothing leads back from a cut along inputs, but a cut along outputs loses nothing.
  expect_resharded_are_converted("odd-tiny", {"whole", "cut_along_outputs"});
}

TEST(DeterministicStores, AConfigThatTheCutDoesNotFitIsRefusedWithOneLine) {
  const TemporaryFolder folder;
  const HfConfig hf = read_hf_config(checkpoint_folder("v3-tiny"));
  for (const bool is_deterministic : {true, false}) {
    const Path store = folder.path() / (is_deterministic ? "joined" : "summed");
    convert_checkpoint(checkpoint_folder("v3-tiny"), store, {.mesh = {1, 2}, .deterministic = is_deterministic});
    const auto config = [&](Mode mode) {
      return make_model_config(hf, {.mode = mode, .mesh = {.shape = {1, 2}, .device = {}}, .deterministic = !is_deterministic});
    };
    EXPECT_THAT(
        [&] { Runner(store, config(Mode::prefill), config(Mode::decode), {}); },
        ::testing::ThrowsMessage<ConfigError>(::testing::HasSubstr(
            is_deterministic ? "[prefill config] is not deterministic but the store for mesh 1x2 was converted with --deterministic"
                             : "[prefill config] is deterministic but the store for mesh 1x2 was converted without --deterministic")));
  }
}

}  // namespace
}  // namespace meshseek

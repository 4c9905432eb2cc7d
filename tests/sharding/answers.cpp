#include "tests/sharding/answers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/softmax.hpp"

namespace meshseek::testing {
namespace {

constexpr std::int64_t kGreedySteps = 8;

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
    result.greedy.push_back(argmax(last));
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

}  // namespace

Path checkpoint_folder(const std::string& name) { return data_folder() / "checkpoints" / name; }

std::vector<std::int64_t> prompt_of(const std::string& checkpoint, const std::string& suffix) {
  return Arrays(checkpoint_folder(checkpoint) / "golden.safetensors").integers("ids_" + suffix);
}

std::vector<std::int64_t> batch_prompt(std::int64_t idx) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(3 + 7 * idx));
  for (std::size_t token = 0; token < ids.size(); ++token) ids[token] = static_cast<std::int64_t>(token * 13 + 5) % 83 + idx;
  return ids;
}

void expect_same_answers(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan) {
  Engine single(checkpoint_folder(checkpoint), {.num_threads = 1});
  std::vector<Answer> expected;
  for (const std::string suffix : {"1", "7", "64"}) {
    single.runner().reset();
    expected.push_back(answer_of(single.runner(), prompt_of(checkpoint, suffix)));
  }
  for (const MeshShape& mesh : meshes) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(checkpoint_folder(checkpoint), mesh, {.plan = plan});
    engine.create_sequences(3);
    std::int64_t sequence_idx = 2;  // the first one's owner is another device than the first
    for (const std::string suffix : {"1", "7", "64"}) {
      SCOPED_TRACE("prompt of " + suffix);
      expect_equal(answer_of(engine, prompt_of(checkpoint, suffix), sequence_idx), expected[static_cast<std::size_t>(2 - sequence_idx)]);
      --sequence_idx;
    }
  }
}

void expect_same_batch(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan) {
  constexpr std::int64_t kUsers = 5;
  Engine single(checkpoint_folder(checkpoint), {.num_threads = 1});
  const std::vector<std::int64_t> idxs = {3, 0, 4, 1, 2};  // rows of the mesh come in another order than users
  const std::vector<std::int64_t> ids = {7, 19, 23, 31, 2};
  std::vector<std::vector<float>> expected;
  for (std::size_t user = 0; user < idxs.size(); ++user) {
    single.runner().reset();
    single.runner().prefill(batch_prompt(idxs[user]), Model::Logits::none);
    expected.push_back(to_float_vector(single.runner().decode(ids[user]).logits));
  }
  for (const MeshShape& mesh : meshes) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(checkpoint_folder(checkpoint), mesh, {.plan = plan});
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

void expect_same_pieces(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan) {
  const std::vector<std::int64_t> prompt = prompt_of(checkpoint, "64");
  Engine single(checkpoint_folder(checkpoint), {.num_threads = 1});
  const std::vector<float> expected = to_float_vector(single.runner().prefill(prompt, Model::Logits::last).logits);
  for (const MeshShape& mesh : meshes) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(checkpoint_folder(checkpoint), mesh, {.plan = plan});
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

void expect_same_trace(const std::string& checkpoint, std::span<const MeshShape> meshes, ParallelPlan plan) {
  const std::vector<std::int64_t> prompt = prompt_of(checkpoint, "7");
  Engine single(checkpoint_folder(checkpoint), {.num_threads = 1});
  Model::Trace expected;
  single.runner().prefill(prompt, Model::Logits::all, &expected);
  for (const MeshShape& mesh : meshes) {
    SCOPED_TRACE(to_string(mesh));
    MeshEngine engine(checkpoint_folder(checkpoint), mesh, {.plan = plan});
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

}  // namespace meshseek::testing

// Several sequences in one decode step: each has the bits that it has alone.
#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "tests/support/engine.hpp"

namespace meshseek {
namespace {

using testing::Engine;

constexpr std::int64_t kSteps = 4;

/// A sequence of its own, with a prompt of 3, 10, 17, ... tokens.
Sequence prompted(Runner& runner, std::int64_t idx) {
  std::vector<std::int64_t> ids(static_cast<std::size_t>(3 + 7 * idx));
  for (std::size_t token = 0; token < ids.size(); ++token) ids[token] = static_cast<std::int64_t>(token * 13 + 5) % 83 + idx;
  runner.reset();
  runner.prefill(ids, Model::Logits::none);
  return runner.copy_sequence();
}

std::int64_t next_id(std::int64_t idx, std::int64_t step) { return (idx * 31 + step * 17) % 90 + 1; }

/// Logits of all steps of one sequence alone.
std::vector<std::vector<float>> decode_alone(Runner& runner, std::int64_t idx) {
  const Sequence sequence = prompted(runner, idx);
  const std::int64_t one = sequence.slot();
  std::vector<std::vector<float>> logits;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const std::int64_t id = next_id(idx, step);
    logits.push_back(to_float_vector(runner.decode(std::span(&id, 1), std::span(&one, 1)).logits));
  }
  return logits;
}

void expect_the_bits_of_each_alone(Runner& runner) {
  const std::int64_t vocab_size = runner.hf_config().vocab_size;
  for (const std::int64_t batch : {2, 3, 5, 9}) {
    std::vector<std::vector<std::vector<float>>> alone;
    std::vector<Sequence> sequences;
    for (std::int64_t idx = 0; idx < batch; ++idx) {
      alone.push_back(decode_alone(runner, idx));
      sequences.push_back(prompted(runner, idx));
    }
    std::vector<std::int64_t> slots;
    for (const Sequence& sequence : sequences) slots.push_back(sequence.slot());
    for (std::int64_t step = 0; step < kSteps; ++step) {
      std::vector<std::int64_t> ids;
      for (std::int64_t idx = 0; idx < batch; ++idx) ids.push_back(next_id(idx, step));
      const std::vector<float> logits = to_float_vector(runner.decode(ids, slots).logits);
      ASSERT_EQ(static_cast<std::int64_t>(logits.size()), batch * vocab_size);
      for (std::int64_t idx = 0; idx < batch; ++idx) {
        const std::vector<float> row(logits.begin() + idx * vocab_size, logits.begin() + (idx + 1) * vocab_size);
        ASSERT_EQ(row, alone[static_cast<std::size_t>(idx)][static_cast<std::size_t>(step)]) << batch << " sequences, number " << idx;
      }
    }
    for (std::int64_t idx = 0; idx < batch; ++idx) EXPECT_EQ(sequences[static_cast<std::size_t>(idx)].num_tokens(), 3 + 7 * idx + kSteps);
  }
}

class BatchDecode : public ::testing::TestWithParam<std::string> {
 protected:
  static Path folder() { return testing::data_folder() / "checkpoints" / GetParam(); }
};

TEST_P(BatchDecode, EachSequenceHasTheBitsItHasAlone) {
  for (const DataType dtype : {DataType::float32, DataType::bfloat8_b, DataType::bfloat4_b}) {
    Engine engine(folder(), {.dtype = dtype, .num_threads = 2});
    expect_the_bits_of_each_alone(engine.runner());
  }
}

INSTANTIATE_TEST_SUITE_P(Families, BatchDecode, ::testing::Values("v2lite-tiny", "v2-tiny", "v3-tiny-fp8", "kimi-tiny", "odd-tiny"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

template <class Function>
std::string message_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(BatchDecodeErrors, AreOneLineAndChangeNoSequence) {
  Engine engine(testing::data_folder() / "checkpoints" / "v3-tiny", {.max_tokens = 12});
  Runner& runner = engine.runner();
  const Sequence first = prompted(runner, 0);
  const Sequence second = prompted(runner, 1);
  const std::vector<std::int64_t> ids = {1, 2};
  const std::vector<std::int64_t> twice = {first.slot(), first.slot()};
  const std::vector<std::int64_t> both = {first.slot(), second.slot()};
  EXPECT_EQ(message_of([&] { runner.decode(ids, twice); }), "[run] sequence 1 is in the batch twice; expected different sequences");
  EXPECT_EQ(message_of([&] { runner.decode(std::span(ids).first(1), both); }),
            "[run] 1 tokens for 2 sequences; expected one token for each");
  const std::vector<std::int64_t> unknown = {1, 1'000'000};
  EXPECT_THAT(message_of([&] { runner.decode(unknown, both); }), ::testing::HasSubstr("token id 1000000 at position 1"));
  EXPECT_THAT(message_of([&] { runner.decode(std::span<const std::int64_t>(), std::span<const std::int64_t>()); }),
              ::testing::HasSubstr("no tokens"));
  const std::vector<std::int64_t> nowhere = {first.slot(), 77};
  EXPECT_EQ(message_of([&] { runner.decode(ids, nowhere); }), "[run] there is no sequence in slot 77");
  while (second.num_tokens() < runner.capacity()) runner.decode(std::span(ids).first(1), std::span(both).last(1));
  EXPECT_THAT(message_of([&] { runner.decode(ids, both); }), ::testing::HasSubstr("the limit is"));
  EXPECT_EQ(first.num_tokens(), 3);
}

TEST(BatchDecodeErrors, TheNaiveFormTakesOneSequence) {
  Engine engine(testing::data_folder() / "checkpoints" / "v3-tiny",
                {.sets = {"model.**.mla.flash_mla.form=naive", "model.**.mla.wkv_b1.transpose_b=true"}});
  Runner& runner = engine.runner();
  const Sequence first = prompted(runner, 0);
  const Sequence second = prompted(runner, 1);
  const std::vector<std::int64_t> ids = {1, 2};
  const std::vector<std::int64_t> both = {first.slot(), second.slot()};
  EXPECT_THAT(message_of([&] { runner.decode(ids, both); }), ::testing::HasSubstr("[mla] flash_mla.form naive for 2 sequences at once"));
}

}  // namespace
}  // namespace meshseek

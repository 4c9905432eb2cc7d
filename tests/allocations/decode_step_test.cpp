// A decode step allocates nothing: what it needs comes from the device's recycled memory.
#include <gtest/gtest.h>

#include <vector>

#include "generate/sampler.hpp"
#include "tests/allocations/counted_malloc.hpp"
#include "tests/support/engine.hpp"

namespace meshseek {
namespace {

using namespace testing;

constexpr int kWarmUp = 4;
constexpr int kSteps = 6;

Path checkpoint(const std::string& name) { return Path(MESHSEEK_SOURCE_DIR) / "tests/data/checkpoints" / name; }

/// Allocations of kSteps calls of `step` after some to warm up.
std::int64_t allocations_of(const auto& step) {
  for (int idx = 0; idx < kWarmUp; ++idx) step();
  const std::int64_t before = num_allocations();
  for (int idx = 0; idx < kSteps; ++idx) step();
  return num_allocations() - before;
}

TEST(Allocations, AreCounted) {
  std::vector<std::vector<int>> kept;
  EXPECT_EQ(allocations_of([&] { kept.assign(1, std::vector<int>(100)); }), kSteps);
}

TEST(Allocations, ADecodeStepHasNone) {
  for (const std::string name : {"v2lite-tiny", "v2-tiny", "v3-tiny", "kimi-tiny"}) {
    for (const DataType dtype : {DataType::bfloat8_b, DataType::float32}) {
      Engine engine(checkpoint(name), {.dtype = dtype, .num_threads = 2});
      Runner& runner = engine.runner();
      runner.prefill(std::vector<std::int64_t>{1, 2, 3}, Model::Logits::last);
      Sampler sampler({.temperature = 0.7, .top_k = 20, .top_p = 0.9, .seed = 1});
      std::int64_t id = 4;
      EXPECT_EQ(allocations_of([&] { id = sampler.sample(runner.decode(id).logits.data<float>()); }), 0) << name << " " << to_string(dtype);
    }
  }
}

TEST(Allocations, AStepOfSeveralSequencesHasNone) {
  Engine engine(checkpoint("v2lite-tiny"), {.dtype = DataType::bfloat8_b, .num_threads = 2});
  Runner& runner = engine.runner();
  runner.prefill(std::vector<std::int64_t>{1, 2, 3}, Model::Logits::last);
  std::vector<Sequence> sequences;
  std::vector<std::int64_t> slots = {0}, ids = {4};
  for (int idx = 0; idx < 3; ++idx) {
    sequences.push_back(runner.copy_sequence(0));
    slots.push_back(sequences.back().slot());
    ids.push_back(5 + idx);
  }
  EXPECT_EQ(allocations_of([&] { runner.decode(ids, slots); }), 0);
}

}  // namespace
}  // namespace meshseek

// What `bench` measures with.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "cli/bench_collectives.hpp"
#include "cli/bench_model.hpp"
#include "tests/support/engine.hpp"

namespace meshseek::cli {
namespace {

TEST(BenchInput, OfCollectivesIsMemoryThatWasWritten) {
  Device device(1);
  const Tensor x = bench_input({64, 16}, device);
  EXPECT_TRUE(std::ranges::all_of(x.data<float>(), [](float value) { return value != 0.0F; }));
}

/// How many users of a batch each device has, for meshes of several rows; all have the length of the first.
TEST(BenchInput, UsersOfABatchAreSharedOutEvenly) {
  testing::Engine engine(testing::data_folder() / "checkpoints" / "v2lite-tiny", {.mesh = {.rows = 2, .cols = 2}, .num_threads = 1});
  Runner& runner = engine.runner();
  const RandomIds ids = [](std::int64_t count) { return std::vector<std::int64_t>(static_cast<std::size_t>(count), 7); };
  runner.prefill(ids(5), Model::Logits::none);
  const std::vector<Sequence> users = add_users(runner, 7, ids);
  std::map<std::int64_t, int> users_of = {{runner.owner(Runner::kOwn), 1}};
  for (const Sequence& user : users) {
    ++users_of[runner.owner(user.slot())];
    EXPECT_EQ(user.num_tokens(), 5);
  }
  EXPECT_EQ(users_of, (std::map<std::int64_t, int>{{0, 2}, {1, 2}, {2, 2}, {3, 2}}));
}

}  // namespace
}  // namespace meshseek::cli

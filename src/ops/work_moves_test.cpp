// Operators that may take long tell with every piece of their work that they have not come to a standstill.
#include <functional>

#include "mesh/communicator.hpp"
#include "ops/linear.hpp"
#include "ops/matmul_plan.hpp"
#include "tests/support/attention_problems.hpp"

namespace meshseek {
namespace {

using namespace testing;

/// Moves while something runs on the device.
std::int64_t moves_in(Device& device, const std::function<void()>& run) {
  const Progress& progress = device.communicator().progress();
  const std::uint64_t before = progress.num_moves();
  run();
  return static_cast<std::int64_t>(progress.num_moves() - before);
}

TEST(WorkMoves, AProductMovesWithEverySlabOfItsWeight) {
  Device device(1);
  LinearConfig cfg;
  cfg.input_tensor_b = weight_slot(random_values(1024 * 64, 2), {1024, 64}, DataType::bfloat8_b, Layout::tile);
  for (const std::int64_t num_tokens : {1, 100}) {
    const Tensor x = random_activation({num_tokens, 64}, 1, device);
    const MatmulSizes sizes = {.m = num_tokens, .k = 64, .n = 1024};
    const MatmulPlan plan = make_matmul_plan(resolve_program(cfg, sizes, device.description()), sizes, "linear");
    EXPECT_GE(moves_in(device, [&] { linear(x, cfg); }), 1024 / plan.col_block) << num_tokens << " tokens";
    EXPECT_LE(plan.col_block, 256);
  }
}

/// Blocks of 64 tokens or pieces of at most 256.
TEST(WorkMoves, AttentionMovesWithEveryPieceOfTheContext) {
  Device device(1);
  const Problem p = make_problem({.num_queries = 2, .num_tokens = 2100, .heads = 3, .nope = 16, .rope = 16, .value_dim = 16, .rank = 32});
  EXPECT_GE(moves_in(device, [&] { run_naive(p, 0, 2, device); }), 3 * 2100 / 64);
  EXPECT_GE(moves_in(device, [&] { run_absorbed(p, 0, 2, device); }), 2100 / 256);
}

}  // namespace
}  // namespace meshseek

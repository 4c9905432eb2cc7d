// Dynamic fields and refused fields are found when the run config is made, not at the first call.
#include "stage3_run/check_operator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "ops/linear_config.hpp"
#include "stage3_run/create_run_config.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

/// A module that leaves its dynamic fields to rules.
struct Block {
  LinearConfig w1 = {};
  static constexpr auto fields() { return std::tuple{field("w1", &Block::w1, "")}; }
};

/// A module whose constructor computes the program of w1 itself.
struct OwnRule {
  LinearConfig w1 = {};
  LinearConfig w2 = {};
  static constexpr auto fields() { return std::tuple{field("w1", &OwnRule::w1, ""), field("w2", &OwnRule::w2, "")}; }
  static constexpr auto dynamic_fields() { return std::array{DynamicField{"w1.program_config", ""}}; }
};

struct Stack {
  std::vector<Block> layers = {};
  std::optional<OwnRule> extra = {};
  static constexpr auto fields() { return std::tuple{field("layers", &Stack::layers, ""), field("extra", &Stack::extra, "")}; }
};

LinearConfig with_rule() {
  LinearConfig config;
  config.input_tensor_b.shape = {64, 64};
  config.program_rule = MatmulProgramRule{};
  return config;
}

/// Every operator below a config, as create_run_config() checks them.
template <class Config>
void check_operators(Config config, const std::string& root) {
  walk_operators(
      config, nullptr, ConfigPath(root), [](const WeightMatch&, const ConfigPath&) {},
      []<class Module>(const auto& op, std::string_view name, const ConfigPath& path) { check_operator<Module>(op, name, path); });
}

TEST(CheckOperator, ADynamicFieldThatNothingSuppliesIsAnErrorAtTheMerge) {
  Stack stack;
  stack.layers.assign(3, Block{with_rule()});
  EXPECT_NO_THROW(check_operators(stack, "model"));
  stack.layers[2].w1.program_rule.reset();
  EXPECT_THAT(
      [&] { check_operators(stack, "model"); },
      ThrowsMessage<ConfigError>(StartsWith(
          "[model.layers.2.w1.program_config] is dynamic, but neither \"program_rule\" nor the module supplies it; set one of the two")));
  stack.layers[2].w1.program_config =
      MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig{.in0_block_w = 1, .per_core_M = 1, .per_core_N = 2};
  EXPECT_NO_THROW(check_operators(stack, "model"));
}

TEST(CheckOperator, AModuleMaySupplyTheFieldItself) {
  Stack stack;
  stack.extra = OwnRule{with_rule(), with_rule()};
  stack.extra->w1.program_rule.reset();
  EXPECT_NO_THROW(check_operators(stack, "model"));
  stack.extra->w2.program_rule.reset();  // this one it does not list
  EXPECT_THAT([&] { check_operators(stack, "model"); },
              ThrowsMessage<ConfigError>(StartsWith("[model.extra.w2.program_config] is dynamic")));
}

TEST(CheckOperator, NamesThePathOfAFieldThatWouldDoNothing) {
  Stack stack;
  stack.layers.assign(2, Block{with_rule()});
  stack.layers[1].w1.compute_kernel_config.fp32_dest_acc_en = false;
  EXPECT_THAT([&] { check_operators(stack, "model"); },
              ThrowsMessage<ConfigError>(HasSubstr("[model.layers.1.w1.compute_kernel_config.fp32_dest_acc_en] false")));
}

}  // namespace
}  // namespace meshseek

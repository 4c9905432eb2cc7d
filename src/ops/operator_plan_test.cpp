// Every field that says how work is cut up changes what runs, and no result beyond rounding.
#include <set>
#include <string>

#include "ops/binary.hpp"
#include "ops/embedding.hpp"
#include "ops/linear.hpp"
#include "ops/reshard.hpp"
#include "ops/rms_norm.hpp"
#include "ops/test_tensors.hpp"
#include "ops/validate.hpp"
#include "reference/linear.hpp"

namespace meshseek {
namespace {

using namespace testing;
using OneD = MatmulMultiCoreReuseMultiCast1DProgramConfig;
using TwoD = MatmulMultiCoreReuseMultiCastProgramConfig;
using DramSharded = MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig;

constexpr std::int64_t kIn = 200, kOut = 150, kTokens = 70;

/// What one call did.
struct Outcome {
  std::string plan = {};
  std::vector<float> y = {};
};

class PlannedLinear : public ::testing::Test {
 protected:
  PlannedLinear() {
    device_.set_observer([this](const OpRecord& record) { plan_ = record.plan; });
    cfg_.input_tensor_b = weight_slot(w_, {kOut, kIn}, DataType::bfloat8_b, Layout::tile);
    cfg_.dtype = DataType::float32;
    cfg_.compute_kernel_config.math_fidelity = MathFidelity::HiFi4;
  }

  Outcome run(const LinearConfig& cfg) {
    const Tensor y = linear(activation(x_, {kTokens, kIn}, device_), cfg);
    return {plan_, to_float_vector(y)};
  }
  Outcome run(const MatmulProgramConfig& program) {
    LinearConfig cfg = cfg_;
    cfg.program_config = program;
    return run(cfg);
  }

  /// Within the error bound of a float32 sum of exact products.
  void expect_right(const std::vector<float>& y) const {
    const reference::LinearResult exact = reference::linear(x_, to_float_vector(cfg_.input_tensor_b.tensor), {kTokens, kIn, kOut});
    for (std::size_t idx = 0; idx < y.size(); ++idx) {
      ASSERT_NEAR(y[idx], exact.y[idx], static_cast<double>(kIn) * 6e-8 * exact.magnitude[idx]) << idx;
    }
  }

  /// Each variant has a plan of its own and the right result.
  void expect_distinct(const std::vector<MatmulProgramConfig>& variants) {
    std::set<std::string> plans;
    for (const MatmulProgramConfig& variant : variants) {
      const Outcome result = run(variant);
      EXPECT_TRUE(plans.insert(result.plan).second) << result.plan;
      expect_right(result.y);
    }
  }

  Device device_{3};
  std::vector<float> x_ = random_values(kTokens * kIn, 1);
  std::vector<float> w_ = random_values(kIn * kOut, 2);
  LinearConfig cfg_;
  std::string plan_;
};

TEST_F(PlannedLinear, EachFieldOfThe1DProgramChangesThePlanOnly) {
  const OneD base = {.compute_with_storage_grid_size = {3, 1},
                     .in0_block_w = 7,
                     .out_subblock_h = 1,
                     .out_subblock_w = 1,
                     .per_core_M = 3,
                     .per_core_N = 2};
  const auto with = [&](const auto& change) {
    OneD program = base;
    change(program);
    return MatmulProgramConfig(program);
  };
  expect_distinct({base, with([](OneD& p) { p.compute_with_storage_grid_size = {2, 2}; }), with([](OneD& p) { p.in0_block_w = 2; }),
                   with([](OneD& p) { p.out_subblock_h = 3; }), with([](OneD& p) { p.out_subblock_w = 2; }),
                   with([](OneD& p) { p.per_core_M = 4; }), with([](OneD& p) { p.per_core_N = 5; }),
                   with([](OneD& p) { p.mcast_in0 = false, p.per_core_N = 5, p.per_core_M = 1; })});
}

TEST_F(PlannedLinear, EachFieldOfThe2DProgramChangesThePlanOnly) {
  const TwoD base = {.compute_with_storage_grid_size = {2, 3}, .in0_block_w = 7, .per_core_M = 1, .per_core_N = 3};
  const auto with = [&](const auto& change) {
    TwoD program = base;
    change(program);
    return MatmulProgramConfig(program);
  };
  expect_distinct({base, with([](TwoD& p) { p.compute_with_storage_grid_size = {3, 3}; }), with([](TwoD& p) { p.in0_block_w = 1; }),
                   with([](TwoD& p) { p.per_core_M = 2, p.out_subblock_h = 2; }), with([](TwoD& p) { p.out_subblock_w = 3; }),
                   with([](TwoD& p) { p.per_core_M = 3; }), with([](TwoD& p) { p.per_core_N = 4; }),
                   with([](TwoD& p) { p.transpose_mcast = true, p.per_core_M = 2; })});
}

TEST_F(PlannedLinear, EachFieldOfTheDramShardedProgramChangesThePlanOnly) {
  expect_distinct(
      {DramSharded{.in0_block_w = 7, .per_core_M = 3, .per_core_N = 2}, DramSharded{.in0_block_w = 3, .per_core_M = 3, .per_core_N = 2},
       DramSharded{.in0_block_w = 7, .per_core_M = 4, .per_core_N = 2}, DramSharded{.in0_block_w = 7, .per_core_M = 3, .per_core_N = 1}});
}

TEST_F(PlannedLinear, EveryProgramWorksForEveryFidelityAndBothOrientations) {
  for (const bool transpose_b : {true, false}) {
    for (const MathFidelity fidelity : {MathFidelity::HiFi4, MathFidelity::HiFi2, MathFidelity::LoFi}) {
      LinearConfig cfg = cfg_;
      cfg.input_tensor_b = weight_slot(w_, transpose_b ? Shape{kOut, kIn} : Shape{kIn, kOut}, DataType::bfloat8_b, Layout::tile);
      cfg.transpose_b = transpose_b;
      cfg.compute_kernel_config.math_fidelity = fidelity;
      const std::vector<float> expected = run(cfg).y;
      for (const MatmulProgramConfig& program : std::vector<MatmulProgramConfig>{
               OneD{.compute_with_storage_grid_size = {2, 1},
                    .in0_block_w = 2,
                    .out_subblock_h = 2,
                    .out_subblock_w = 3,
                    .per_core_M = 3,
                    .per_core_N = 3},
               TwoD{.compute_with_storage_grid_size = {5, 3}, .in0_block_w = 3, .per_core_M = 1, .per_core_N = 1},
               DramSharded{.in0_block_w = 1, .per_core_M = 3, .per_core_N = 4}}) {
        cfg.program_config = program;
        const std::vector<float> y = run(cfg).y;
        for (std::size_t idx = 0; idx < y.size(); ++idx) ASSERT_NEAR(y[idx], expected[idx], 2e-4) << enum_name(fidelity) << transpose_b;
      }
    }
  }
}

TEST_F(PlannedLinear, FusedActivationIsAppliedAfterTheBias) {
  LinearConfig cfg = cfg_;
  cfg.bias = weight_slot(random_values(kOut, 3), {kOut});
  cfg.program_config = DramSharded{.in0_block_w = 7, .per_core_M = 3, .per_core_N = 2};
  const std::vector<float> plain = run(cfg).y;
  std::get<DramSharded>(*cfg.program_config).fused_activation = UnaryOpType::SILU;
  const std::vector<float> fused = run(cfg).y;
  for (std::size_t idx = 0; idx < plain.size(); ++idx) ASSERT_NEAR(fused[idx], plain[idx] / (1.0F + std::exp(-plain[idx])), 1e-5);
}

TEST_F(PlannedLinear, MathFidelityChangesThePrecision) {
  std::set<std::vector<float>> results;
  for (const MathFidelity fidelity : {MathFidelity::HiFi4, MathFidelity::HiFi2, MathFidelity::LoFi}) {
    cfg_.compute_kernel_config.math_fidelity = fidelity;
    results.insert(run(cfg_).y);
  }
  EXPECT_EQ(results.size(), 3U);
}

TEST_F(PlannedLinear, L1ResultsTakeNoMainMemoryAndAreRecycled) {
  const std::int64_t before = device_.dram_bytes_allocated();
  run(cfg_);
  EXPECT_EQ(device_.dram_bytes_allocated() - before, kTokens * kOut * 4);
  LinearConfig half = cfg_;
  half.dtype = DataType::bfloat16;
  run(half);
  EXPECT_EQ(device_.dram_bytes_allocated() - before, kTokens * kOut * (4 + 2));
  cfg_.memory_config = L1_MEMORY_CONFIG;
  const void* first = linear(activation(x_, {kTokens, kIn}, device_), cfg_).bytes().data();
  const void* second = linear(activation(x_, {kTokens, kIn}, device_), cfg_).bytes().data();
  EXPECT_EQ(first, second);
  EXPECT_EQ(device_.dram_bytes_allocated() - before, kTokens * kOut * (4 + 2));
  EXPECT_EQ(device_.l1().used(), 0U);
  EXPECT_GE(device_.l1().peak(), static_cast<std::size_t>(kTokens * kOut * 4));
}

TEST_F(PlannedLinear, SaysWhenL1IsFull) {
  Device small(1, 8192);
  cfg_.memory_config = L1_MEMORY_CONFIG;
  EXPECT_EQ(message_of([&] { linear(activation(x_, {kTokens, kIn}, small), cfg_); }),
            "[linear] the result [70, 150] needs 42000 bytes of L1, and 0 of 8192 are in use; set memory_config.buffer_type to DRAM");
}

TEST_F(PlannedLinear, AProgramThatDoesNotCoverTheCallIsRefused) {
  EXPECT_THAT(message_of<ShapeError>([&] { run(DramSharded{.in0_block_w = 7, .per_core_M = 2, .per_core_N = 2}); }),
              ::testing::HasSubstr("x has 70 rows but the program config takes 64 (per_core_M 2 on 1 cores)"));
  EXPECT_THAT(message_of<ConfigError>(
                  [&] { run(OneD{.compute_with_storage_grid_size = {2, 1}, .in0_block_w = 7, .per_core_M = 3, .per_core_N = 2}); }),
              ::testing::HasSubstr("the weight has 150 outputs but the program config takes 128"));
}

/// The plan of a binary operator under a memory config; checks that the bits do not depend on it.
std::string plan_of(const MemoryConfig& memory_config, const std::vector<std::byte>& expected) {
  Device device(3);
  std::string plan;
  device.set_observer([&](const OpRecord& record) { plan = record.plan; });
  const Tensor a = random_activation({70, 150}, 4, device);
  const Tensor y = mul(a, a, {.input_tensor_a_activations = {UnaryOpType::SILU}, .memory_config = memory_config});
  EXPECT_EQ(bits_of(y), expected) << plan;
  return plan;
}

TEST(PlannedElementwise, EachFieldOfTheMemoryConfigChangesThePlanAndNoBit) {
  Device device(1);
  const Tensor a = random_activation({70, 150}, 4, device);
  const std::vector<std::byte> expected = bits_of(mul(a, a, {.input_tensor_a_activations = {UnaryOpType::SILU}}));
  const ShardSpec wide = {.grid = {{{0, 0}, {4, 0}}}, .shape = {96, 32}};
  const ShardSpec block = {.grid = {{{0, 0}, {2, 1}}}, .shape = {40, 64}};
  const ShardSpec turned = {.grid = {{{0, 0}, {1, 2}}}, .shape = {40, 64}, .orientation = ShardOrientation::COL_MAJOR};
  const std::vector<MemoryConfig> variants = {
      DRAM_MEMORY_CONFIG,
      L1_MEMORY_CONFIG,
      L1_WIDTH_SHARDED_MEMORY_CONFIG,
      L1_HEIGHT_SHARDED_MEMORY_CONFIG,
      L1_BLOCK_SHARDED_MEMORY_CONFIG,
      {.memory_layout = TensorMemoryLayout::WIDTH_SHARDED, .buffer_type = BufferType::L1, .shard_spec = wide},
      {.memory_layout = TensorMemoryLayout::WIDTH_SHARDED,
       .buffer_type = BufferType::L1,
       .shard_spec = ShardSpec{.grid = {{{0, 0}, {1, 0}}}, .shape = {70, 96}}},
      {.memory_layout = TensorMemoryLayout::HEIGHT_SHARDED, .shard_spec = ShardSpec{.grid = {{{0, 0}, {6, 0}}}, .shape = {11, 160}}},
      {.memory_layout = TensorMemoryLayout::BLOCK_SHARDED, .shard_spec = block},
      {.memory_layout = TensorMemoryLayout::BLOCK_SHARDED, .buffer_type = BufferType::L1, .shard_spec = turned}};
  std::set<std::string> plans;
  for (const MemoryConfig& variant : variants) plans.insert(plan_of(variant, expected));
  EXPECT_EQ(plans.size(), variants.size());
}

TEST(PlannedElementwise, CoresThatOwnNothingAreNoProblemAndTooFewShardsAre) {
  Device device(2);
  const Tensor a = random_activation({3, 40}, 5, device);
  MemoryConfig memory_config = {.memory_layout = TensorMemoryLayout::WIDTH_SHARDED,
                                .shard_spec = ShardSpec{.grid = {{{0, 0}, {7, 0}}}, .shape = {32, 32}}};
  EXPECT_EQ(bits_of(reshard(a, {.memory_config = memory_config})), bits_of(a));
  memory_config.shard_spec->grid = {{{0, 0}, {0, 0}}};
  EXPECT_THAT(message_of<ShapeError>([&] { reshard(a, {.memory_config = memory_config}); }), ::testing::HasSubstr("cover less"));
}

TEST(Reshard, RoundsToTheTypeAskedFor) {
  Device device(2);
  const Tensor a = random_activation({5, 33}, 6, device);
  const Tensor y = reshard(a, {.memory_config = L1_MEMORY_CONFIG, .dtype = DataType::bfloat16});
  EXPECT_EQ(bits_of(y), bits_of(random_activation({5, 33}, 6, device, DataType::bfloat16)));
}

/// What validate() says about a change of a config that is right.
template <class Change>
std::string refusal(const Change& change) {
  LinearConfig cfg;
  cfg.input_tensor_b.shape = {150, 200};
  cfg.program_config = OneD{.compute_with_storage_grid_size = {3, 1}, .in0_block_w = 7, .per_core_M = 3, .per_core_N = 2};
  change(cfg, std::get<OneD>(*cfg.program_config));
  return message_of<ConfigError>([&] { validate(cfg, "w1"); });
}

TEST(Validate, RefusesFieldsOfALinearThatWouldDoNothing) {
  using ::testing::StartsWith;
  EXPECT_EQ(refusal([](LinearConfig&, OneD&) {}), "");
  EXPECT_THAT(refusal([](LinearConfig& cfg, OneD&) { cfg.program_rule = MatmulProgramRule{}; }),
              StartsWith("[w1.program_rule] has no effect beside"));
  EXPECT_THAT(refusal([](LinearConfig& cfg, OneD&) { cfg.compute_kernel_config.fp32_dest_acc_en = false; }),
              StartsWith("[w1.compute_kernel_config.fp32_dest_acc_en] false; only true"));
  EXPECT_THAT(refusal([](LinearConfig&, OneD& program) { program.in0_block_w = 8; }),
              StartsWith("[w1.program_config.in0_block_w] 8 exceeds the tiles of K, 7"));
  EXPECT_THAT(refusal([](LinearConfig&, OneD& program) { program.in0_block_w = 0; }),
              StartsWith("[w1.program_config.in0_block_w] 0 is out of range"));
  EXPECT_THAT(refusal([](LinearConfig&, OneD& program) { program.out_subblock_h = 4; }),
              StartsWith("[w1.program_config.out_subblock_h] 4 exceeds per_core_M 3"));
  EXPECT_THAT(refusal([](LinearConfig&, OneD& program) { program.out_subblock_w = 3; }),
              StartsWith("[w1.program_config.out_subblock_w] 3 exceeds per_core_N 2"));
  EXPECT_THAT(refusal([](LinearConfig&, OneD& program) { program.compute_with_storage_grid_size = {100, 100}; }),
              StartsWith("[w1.program_config.compute_with_storage_grid_size] 10000 is out of range"));
  EXPECT_THAT(refusal([](LinearConfig&, OneD& program) { program.per_core_N = 1; }),
              StartsWith("[w1.program_config] the weight has 150 outputs"));
  EXPECT_THAT(refusal([](LinearConfig& cfg, OneD&) { cfg.memory_config = L1_HEIGHT_SHARDED_MEMORY_CONFIG; }),
              StartsWith("[w1.program_config] memory_config is HEIGHT_SHARDED but the program config makes WIDTH_SHARDED results"));
  EXPECT_THAT(refusal([](LinearConfig& cfg, OneD&) {
                cfg.memory_config = L1_WIDTH_SHARDED_MEMORY_CONFIG;
                cfg.memory_config.shard_spec = ShardSpec{.grid = {{{0, 0}, {2, 0}}}, .shape = {96, 32}};
              }),
              ::testing::HasSubstr("shard_spec has width 32 but the program config has 64"));
  EXPECT_THAT(refusal([](LinearConfig& cfg, OneD&) { cfg.program_config.reset(), cfg.memory_config = L1_WIDTH_SHARDED_MEMORY_CONFIG; }),
              StartsWith("[w1.memory_config.memory_layout] WIDTH_SHARDED needs a program_config"));
  EXPECT_THAT(refusal([](LinearConfig& cfg, OneD&) {
                cfg.input_tensor_b.shape = {4, 150, 200}, cfg.memory_config = L1_WIDTH_SHARDED_MEMORY_CONFIG;
              }),
              ::testing::HasSubstr("stack of matrices"));
}

TEST(Validate, RefusesMemoryConfigsThatMeanNothing) {
  const auto refuse = [](const MemoryConfig& memory_config) {
    return message_of<ConfigError>([&] { validate(BinaryConfig{.memory_config = memory_config}, "add"); });
  };
  using ::testing::HasSubstr;
  const ShardSpec spec = {.grid = {{{0, 0}, {1, 0}}}, .shape = {32, 32}};
  EXPECT_EQ(refuse({.memory_layout = TensorMemoryLayout::WIDTH_SHARDED, .shard_spec = spec}), "");
  EXPECT_THAT(refuse({.shard_spec = spec}), HasSubstr("[add.memory_config.shard_spec] INTERLEAVED has no shards"));
  EXPECT_THAT(refuse({.memory_layout = TensorMemoryLayout::WIDTH_SHARDED, .shard_spec = ShardSpec{.shape = {32, 32}}}),
              HasSubstr("grid] is empty"));
  EXPECT_THAT(
      refuse({.memory_layout = TensorMemoryLayout::WIDTH_SHARDED, .shard_spec = ShardSpec{.grid = {{{2, 0}, {1, 0}}}, .shape = {32, 32}}}),
      HasSubstr("the range (2, 0) to (1, 0) is none"));
  EXPECT_THAT(refuse({.memory_layout = TensorMemoryLayout::WIDTH_SHARDED, .shard_spec = ShardSpec{.grid = spec.grid, .shape = {32}}}),
              HasSubstr("shape] expected"));
  EXPECT_THAT(refuse({.memory_layout = TensorMemoryLayout::WIDTH_SHARDED,
                      .shard_spec = ShardSpec{.grid = spec.grid, .shape = {32, 32}, .orientation = ShardOrientation::COL_MAJOR}}),
              HasSubstr("COL_MAJOR has a meaning for BLOCK_SHARDED only"));
  EXPECT_THAT(refuse({.memory_layout = TensorMemoryLayout::BLOCK_SHARDED,
                      .shard_spec = ShardSpec{.grid = {{{0, 0}, {1, 0}}, {{0, 1}, {1, 1}}}, .shape = {32, 32}}}),
              HasSubstr("one rectangle"));
  EXPECT_THAT(
      message_of<ConfigError>([] { validate(RmsNormConfig{.memory_config = L1_WIDTH_SHARDED_MEMORY_CONFIG}, "norm"); }),
      HasSubstr("[norm.memory_config.memory_layout] WIDTH_SHARDED has no meaning for this operator; expected INTERLEAVED, HEIGHT_SHARDED"));
}

}  // namespace
}  // namespace meshseek

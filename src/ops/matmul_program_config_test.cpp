// The helpers that make program configs, at their edges.
#include "ops/matmul_program_config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/standard_linear_config.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

using OneD = MatmulMultiCoreReuseMultiCast1DProgramConfig;
using TwoD = MatmulMultiCoreReuseMultiCastProgramConfig;
using DramSharded = MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig;

constexpr MatmulProgramRule kRule = {.compute_with_storage_grid_size = {4, 2}, .in0_block_w = 8, .out_subblock_h = 2, .out_subblock_w = 2};

TEST(FindPrefillGrid, SplitsBothDimensionsEvenlyOverAsManyCoresAsPossible) {
  EXPECT_EQ(find_prefill_grid(1, 1, 8), (CoreCoord{1, 1}));
  EXPECT_EQ(find_prefill_grid(4, 1, 8), (CoreCoord{1, 4}));
  EXPECT_EQ(find_prefill_grid(1, 64, 8), (CoreCoord{8, 1}));
  EXPECT_EQ(find_prefill_grid(4, 4, 8), (CoreCoord{4, 2}));   // of (4, 2) and (2, 4) the one with more columns
  EXPECT_EQ(find_prefill_grid(7, 5, 12), (CoreCoord{1, 7}));  // 7 cores; 5 x 1 would be fewer
  EXPECT_EQ(find_prefill_grid(7, 5, 35), (CoreCoord{5, 7}));
  EXPECT_EQ(find_prefill_grid(13, 11, 1), (CoreCoord{1, 1}));
}

TEST(DramShardCoreGridForK, IsTheLargestDivisorOfTheTilesOfK) {
  EXPECT_EQ(dram_shard_core_grid_for_k(7168, 64), (CoreCoord{56, 1}));  // 224 tiles
  EXPECT_EQ(dram_shard_core_grid_for_k(7168, 8), (CoreCoord{8, 1}));
  EXPECT_EQ(dram_shard_core_grid_for_k(7168, 5), (CoreCoord{4, 1}));
  EXPECT_EQ(dram_shard_core_grid_for_k(11 * 32, 8), (CoreCoord{1, 1}));  // a prime number of tiles
  EXPECT_EQ(dram_shard_core_grid_for_k(1, 8), (CoreCoord{1, 1}));
  EXPECT_EQ(dram_shard_core_grid_for_k(64, 0), (CoreCoord{1, 1}));  // a device without a description
}

TEST(FindIn0BlockW, FillsAtMostHalfTheL2CacheAndNeverLessThanATile) {
  EXPECT_EQ(find_in0_block_w(32 * 1000, 1, {.l2_bytes = 1 << 20}), 128);  // 128 tiles of 4 KiB are half a MiB
  EXPECT_EQ(find_in0_block_w(32 * 1000, 4, {.l2_bytes = 1 << 20}), 32);
  EXPECT_EQ(find_in0_block_w(32 * 1000, 1, {.l2_bytes = 0}), 128);  // unknown counts as 1 MiB
  EXPECT_EQ(find_in0_block_w(70, 1, {.l2_bytes = 1 << 20}), 3);     // all of K
  EXPECT_EQ(find_in0_block_w(32 * 1000, 1, {.l2_bytes = 1}), 1);
}

TEST(MatmulProgram, SplitsTheOutputsWhereThereAreEnough) {
  const auto program = std::get<OneD>(matmul_program(kRule, {.m = 100, .k = 4096, .n = 1000}));
  EXPECT_EQ(program.compute_with_storage_grid_size, (CoreCoord{8, 1}));
  EXPECT_TRUE(program.mcast_in0);
  EXPECT_EQ(program.per_core_M, 4);  // all 100 rows
  EXPECT_EQ(program.per_core_N, 4);  // 32 tiles over 8 cores
  EXPECT_EQ(program.in0_block_w, 8);
  EXPECT_EQ(program.out_subblock_h, 2);
}

TEST(MatmulProgram, SplitsTheRowsTooWhereOutputsAreFew) {
  const auto program = std::get<TwoD>(matmul_program(kRule, {.m = 32 * 16, .k = 4096, .n = 64}));
  EXPECT_EQ(program.compute_with_storage_grid_size, (CoreCoord{2, 4}));
  EXPECT_EQ(program.per_core_M, 4);
  EXPECT_EQ(program.per_core_N, 1);
  EXPECT_EQ(program.out_subblock_w, 1);  // never more than the core has
}

TEST(MatmulProgram, WakesNoMoreCoresThanTheWorkIsWorth) {
  const auto cores = [](const MatmulSizes& sizes) { return num_cores(matmul_program(kRule, sizes), sizes.n); };
  EXPECT_EQ(cores({.m = 1, .k = 32, .n = 512}), 1);
  EXPECT_EQ(cores({.m = 1, .k = 100, .n = 512}), 4);  // 9 rows' worth of 51,200 products
  EXPECT_EQ(cores({.m = 1, .k = 4096, .n = 512}), 8);
  EXPECT_EQ(cores({.m = 0, .k = 1, .n = 1}), 1);
}

TEST(MatmulProgram, CutsStacksFinely) {
  const auto program = std::get<OneD>(matmul_program(kRule, {.m = 512, .k = 2048, .n = 1408, .num_matrices = 64}));
  EXPECT_EQ(program.per_core_N, 2);
  EXPECT_EQ(program.per_core_M, 16);  // one matrix may get all rows
}

TEST(MatmulProgram, BlocksOfKDoNotDependOnTheNumberOfRows) {
  for (const std::int64_t m : {1, 31, 33, 5000}) {
    const MatmulProgramConfig program = matmul_program(kRule, {.m = m, .k = 512, .n = 64});
    EXPECT_EQ(std::visit([](const auto& chosen) { return chosen.in0_block_w; }, program), 8) << m;
  }
}

TEST(MatmulProgram, IsValidForEveryKindOfSize) {
  for (const std::int64_t m : {0, 1, 31, 32, 33, 1000}) {
    for (const std::int64_t k : {1, 32, 33, 7168}) {
      for (const std::int64_t n : {1, 32, 70, 129280}) {
        LinearConfig cfg = prefill_linear_config({n, k}, MathFidelity::HiFi2, {.num_cores = 12, .l2_bytes = 1 << 20});
        EXPECT_NO_THROW(validate(cfg, "w"));
        cfg.program_config = matmul_program(*cfg.program_rule, {.m = m, .k = k, .n = n});
        cfg.program_rule.reset();
        EXPECT_NO_THROW(validate(cfg, "w")) << m << " " << k << " " << n;
        EXPECT_NO_THROW(validate(decode_linear_config({n, k}, MathFidelity::LoFi, {.num_cores = 12, .l2_bytes = 1 << 20}), "w"))
            << k << " " << n;
      }
    }
  }
}

TEST(DecodeLinearConfig, ShardsTheResultOverTheCoresThatStreamTheWeight) {
  const LinearConfig cfg = decode_linear_config({18432, 7168}, MathFidelity::LoFi, {.num_cores = 6, .l2_bytes = 2 << 20});
  EXPECT_EQ(std::get<DramSharded>(*cfg.program_config).per_core_N, 96);
  EXPECT_FALSE(cfg.program_rule);
  EXPECT_EQ(cfg.memory_config.buffer_type, BufferType::L1);
  EXPECT_EQ(cfg.memory_config.memory_layout, TensorMemoryLayout::WIDTH_SHARDED);
  EXPECT_EQ(cfg.memory_config.shard_spec->shape, (std::vector<std::uint32_t>{32, 96 * 32}));
}

TEST(DecodeLinearConfig, KeepsResultsThatAreTooLargeInMainMemory) {
  EXPECT_EQ(decode_linear_config({129280, 64}, MathFidelity::LoFi, {.num_cores = 1, .l2_bytes = 1 << 20}).memory_config.buffer_type,
            BufferType::DRAM);
}

}  // namespace
}  // namespace meshseek

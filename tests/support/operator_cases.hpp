/// Shapes of the published models that operators are tested on (scaled down) and measured on (bench/).
#pragma once
#include <array>
#include <cstdint>

namespace meshseek::testing {

/// One matrix product of a model.
struct LinearCase {
  const char* name = nullptr;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t matrices = 1;  ///< heads or experts
  bool transpose_b = true;
  std::int64_t experts_per_token = 0;  ///< above 0: grouped_linear(), each token visits so many of the matrices
};

inline constexpr std::array kLinearCases = {
    LinearCase{"v2-lite.wq", 2048, 3072},
    LinearCase{"v2-lite.wkv_a", 2048, 576},
    LinearCase{"v2-lite.wkv_b1_absorbed", 128, 512, 16, false},
    LinearCase{"v2-lite.wkv_b2", 512, 128, 16},
    LinearCase{"v2-lite.wo", 2048, 2048},
    LinearCase{"v2-lite.mlp.w1", 2048, 10944},
    LinearCase{"v2-lite.mlp.w2", 10944, 2048},
    LinearCase{"v2-lite.experts.w1", 2048, 1408, 64, true, 6},
    LinearCase{"v2-lite.experts.w2", 1408, 2048, 64, true, 6},
    LinearCase{"v2-lite.lm_head", 2048, 102400},
    LinearCase{"v3.wq_a", 7168, 1536},
    LinearCase{"v3.wq_b", 1536, 24576},
    LinearCase{"v3.wkv_b1_absorbed", 128, 512, 128, false},
    LinearCase{"v3.wo", 16384, 7168},
    LinearCase{"v3.mlp.w1", 7168, 18432},
    LinearCase{"v3.experts.w1", 7168, 2048, 32, true, 8},  // of 256: what fits into memory beside other cases
};

inline constexpr std::array<std::int64_t, 6> kNumTokens = {1, 8, 32, 128, 512, 2048};

}  // namespace meshseek::testing

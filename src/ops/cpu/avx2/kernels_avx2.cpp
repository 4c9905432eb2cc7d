#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu::avx2 {

constexpr const char* kIsa = "avx2";
constexpr int kVectorFloats = 8;
constexpr int kTileX = 2;
constexpr int kTileW = 2;
constexpr int kInt8TileX = 2;
constexpr int kSumTileX = 4;

using Ints __attribute__((vector_size(kVectorFloats * 4))) = std::int32_t;

static Ints multiply_pairs(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}

#include "ops/cpu/loops.inc"

}  // namespace meshseek::cpu::avx2

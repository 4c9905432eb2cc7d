#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu::avx512 {

constexpr const char* kIsa = "avx512";
constexpr int kVectorFloats = 16;
constexpr int kTileX = 4;
constexpr int kTileW = 4;
constexpr int kInt8TileX = 8;
constexpr int kSumTileX = 4;

using Ints __attribute__((vector_size(kVectorFloats * 4))) = std::int32_t;

static Ints multiply_pairs(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}

#include "ops/cpu/loops.inc"

}  // namespace meshseek::cpu::avx512

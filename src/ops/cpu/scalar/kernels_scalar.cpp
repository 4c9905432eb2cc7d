#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu::scalar {

constexpr const char* kIsa = "scalar";
constexpr int kVectorFloats = 4;
constexpr int kTileX = 1;
constexpr int kTileW = 2;
constexpr int kInt8TileX = 1;
constexpr int kSumTileX = 2;

using Ints __attribute__((vector_size(kVectorFloats * 4))) = std::int32_t;

static Ints multiply_pairs(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
}

#include "ops/cpu/loops.inc"

}  // namespace meshseek::cpu::scalar

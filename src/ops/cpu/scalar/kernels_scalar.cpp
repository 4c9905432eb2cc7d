#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::scalar {

constexpr const char* kIsa = "scalar";
constexpr int kVectorFloats = 4;
constexpr int kTileX = 1;
constexpr int kTileW = 2;
constexpr int kInt8Offset = 0;
constexpr int kInt8TileX = 1;
constexpr int kInt8TileW = 1;
constexpr int kSumTileX = 2;
constexpr int kSumTileC = 4;
constexpr int kPairTileX = 2;

using Quad __attribute__((vector_size(16))) = float;
using Floats __attribute__((vector_size(kVectorFloats * 4))) = float;
using Ints __attribute__((vector_size(kVectorFloats * 4))) = std::int32_t;
using Shorts __attribute__((vector_size(kVectorFloats * 4))) = std::int16_t;

static Quad fold(const Floats* sum) { return (sum[0] + sum[2]) + (sum[1] + sum[3]); }

static Ints widen_part(__m128i bytes, int part) {
  const __m128i shorts = part < 2 ? _mm_unpacklo_epi8(bytes, _mm_setzero_si128()) : _mm_unpackhi_epi8(bytes, _mm_setzero_si128());
  return reinterpret_cast<Ints>(part % 2 == 0 ? _mm_unpacklo_epi16(shorts, _mm_setzero_si128())
                                              : _mm_unpackhi_epi16(shorts, _mm_setzero_si128()));
}

/// Values 0 and 2, and values 1 and 3, as int16: the instructions of every x86-64 multiply pairs of those.
struct XQuad {
  Ints even;
  Ints odd;
};
using WQuad = XQuad;

static XQuad make_x(Ints bytes) {
  const Shorts pairs = reinterpret_cast<Shorts>(bytes);
  return {reinterpret_cast<Ints>((pairs << 8) >> 8), reinterpret_cast<Ints>(pairs >> 8)};
}

static WQuad make_w(Ints bytes) { return make_x(bytes); }

static Ints multiply_pairs(Ints a, Ints b) {
  return reinterpret_cast<Ints>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
}

static Ints add_products(Ints sum, WQuad w, XQuad x) { return sum + (multiply_pairs(w.even, x.even) + multiply_pairs(w.odd, x.odd)); }

// clang-format off: each needs those before it
#include "ops/cpu/loops.inc"
#include "ops/cpu/attention_loops.inc"
#include "ops/cpu/tile_loops.inc"
#include "ops/cpu/pack_face.inc"
#include "ops/cpu/int8_loops.inc"
// clang-format on

}  // namespace meshseek::cpu::scalar

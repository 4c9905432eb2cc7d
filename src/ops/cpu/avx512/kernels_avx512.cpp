#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::avx512 {

constexpr int kInt8Offset = 0;

#include "ops/cpu/avx512/common.inc"

/// Values 0 and 2, and values 1 and 3, as int16: without VNNI, pairs of those are what can be multiplied and added exactly.
struct XQuad {
  __m512i even;
  __m512i odd;
};
using WQuad = XQuad;

static XQuad make_x(Ints bytes) {
  const __m512i pairs = reinterpret_cast<__m512i>(bytes);
  return {_mm512_srai_epi16(_mm512_slli_epi16(pairs, 8), 8), _mm512_srai_epi16(pairs, 8)};
}

static WQuad make_w(Ints bytes) { return make_x(bytes); }

static Ints add_products(Ints sum, WQuad w, XQuad x) {
  return sum + reinterpret_cast<Ints>(_mm512_add_epi32(_mm512_madd_epi16(w.even, x.even), _mm512_madd_epi16(w.odd, x.odd)));
}

// clang-format off: each needs those before it
#include "ops/cpu/loops.inc"
#include "ops/cpu/attention_loops.inc"
#include "ops/cpu/tile_loops.inc"
#include "ops/cpu/int8_loops.inc"
// clang-format on

}  // namespace meshseek::cpu::avx512

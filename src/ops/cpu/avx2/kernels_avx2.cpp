#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::avx2 {

#include "ops/cpu/avx2/common.inc"

constexpr int kInt8Offset = 0;

/// The instruction multiplies unsigned with signed bytes and adds pairs in int16: |x| times w with the sign of x stays below 2 * 127 * 127.
struct XQuad {
  __m256i value;
  __m256i magnitude;
};
struct WQuad {
  __m256i value;
};

static XQuad make_x(Ints bytes) { return {reinterpret_cast<__m256i>(bytes), _mm256_abs_epi8(reinterpret_cast<__m256i>(bytes))}; }

static WQuad make_w(Ints bytes) { return {reinterpret_cast<__m256i>(bytes)}; }

static Ints add_products(Ints sum, WQuad w, XQuad x) {
  const __m256i pairs = _mm256_maddubs_epi16(x.magnitude, _mm256_sign_epi8(w.value, x.value));
  return sum + reinterpret_cast<Ints>(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

// clang-format off: each needs those before it
#include "ops/cpu/loops.inc"
#include "ops/cpu/attention_loops.inc"
#include "ops/cpu/tile_loops.inc"
#include "ops/cpu/pack_face.inc"
#include "ops/cpu/int8_loops.inc"
// clang-format on

}  // namespace meshseek::cpu::avx2

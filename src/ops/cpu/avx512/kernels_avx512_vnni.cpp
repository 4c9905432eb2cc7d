#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::avx512_vnni {

constexpr int kInt8Offset = 128;

#include "ops/cpu/avx512/common.inc"

struct XQuad {
  __m512i value;
};
using WQuad = XQuad;

static XQuad make_x(Ints bytes) { return {reinterpret_cast<__m512i>(bytes)}; }
static WQuad make_w(Ints bytes) { return make_x(bytes); }

static Ints add_products(Ints sum, WQuad w, XQuad x) {
  return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), w.value, x.value));
}

// clang-format off: each needs those before it
#include "ops/cpu/loops.inc"
#include "ops/cpu/attention_loops.inc"
#include "ops/cpu/tile_loops.inc"
#include "ops/cpu/int8_loops.inc"
// clang-format on

}  // namespace meshseek::cpu::avx512_vnni

// The int8 dots of ops/cpu/gemv.hpp with VPDPBUSD and byte look-ups (VNNI and VBMI).
#include <immintrin.h>

#include "ops/cpu/gemv_tables.hpp"

// Nothing here may be inline or come from the standard library: see loops.inc.
namespace meshseek::cpu::avx512_vnni {

#include "ops/cpu/gemv_tiles.inc"

/// Lines are asked for four tiles ahead, into the second-level cache: those asked for into the first-level cache take the few buffers that misses of loads
/// need (Zen 4, one core, bfloat8_b: 20.5 GB/s instead of 30.3).
constexpr std::int64_t kAhead = 4352;
/// Weights that are multiplied as unsigned bytes are magnitude + kOffset; what that adds to a sum is taken off exactly.
constexpr int kOffset = 128;

static void prefetch(const std::uint8_t* from, std::int64_t bytes, std::int64_t step) {
  for (std::int64_t offset = 0; offset < bytes; offset += step) _mm_prefetch(reinterpret_cast<const char*>(from + offset), _MM_HINT_T2);
}

/// Sixteen rows of a face by four values of k each.
struct Quads {
  __m512i k[4];
};

/// A negative code, read as signed, is magnitude - 128: its absolute value is what is wanted already.
static __m512i add_offset(__m512i codes) {
  constexpr int kAOrNotBAndC = 0xF2;
  return _mm512_ternarylogic_epi32(_mm512_abs_epi8(codes), codes, _mm512_set1_epi8(static_cast<char>(kOffset)), kAOrNotBAndC);
}

/// Row 4 i + l becomes element 4 l + i.
static Quads load_b8(const std::uint8_t* face) {
  const __m512i a = add_offset(_mm512_loadu_si512(face)), b = add_offset(_mm512_loadu_si512(face + 64));
  const __m512i c = add_offset(_mm512_loadu_si512(face + 128)), d = add_offset(_mm512_loadu_si512(face + 192));
  const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
  return {{_mm512_unpacklo_epi64(ab_low, cd_low), _mm512_unpackhi_epi64(ab_low, cd_low), _mm512_unpacklo_epi64(ab_high, cd_high),
           _mm512_unpackhi_epi64(ab_high, cd_high)}};
}

/// Rows 2 l, 2 l + 1, 8 + 2 l, 9 + 2 l become elements 4 l to 4 l + 3. A look-up reads six bits: the table holds each nibble four times.
static Quads load_b4(const std::uint8_t* face) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(-128, -127, -126, -125, -124, -123, -122, -121, -128, 127, 126, 125, 124, 123,
                                                             122, 121));  // kOffset + 0 .. 7, kOffset - 0 .. 7
  const __m512 upper = _mm512_loadu_ps(face), lower = _mm512_loadu_ps(face + 64);
  const __m512i left = _mm512_castps_si512(_mm512_shuffle_ps(upper, lower, 0x88));
  const __m512i right = _mm512_castps_si512(_mm512_shuffle_ps(upper, lower, 0xDD));
  return {{_mm512_permutexvar_epi8(left, table), _mm512_permutexvar_epi8(_mm512_srli_epi16(left, 4), table),
           _mm512_permutexvar_epi8(right, table), _mm512_permutexvar_epi8(_mm512_srli_epi16(right, 4), table)}};
}

template <int kBits>
static Quads load(const std::uint8_t* face) {
  if constexpr (kBits == 7) return load_b8(face);
  return load_b4(face);
}

/// Element j of Quads is this row of the face.
template <int kBits>
static __m128i row_order() {
  if constexpr (kBits == 7) return _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
}

/// Row j of the face is this element of Quads.
template <int kBits>
static __m128i element_order() {
  if constexpr (kBits == 7) return row_order<kBits>();
  return _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
}

/// Sixteen values of one x in the order in which Quads has them, four times.
template <int kBits>
static __m512i load_x(const std::int8_t* codes) {
  const __m512i x = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)));
  if constexpr (kBits == 7) return x;
  return _mm512_shuffle_epi8(x, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15)));
}

/// 2^(exponent - 127 - (kBits - 1)) of 16 blocks; 0 where the slow path says zero.
template <int kFace>
static __m512 to_scales(__m512i exponents) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(exponents, kFace)), 23));
}

/// Sums of the four lanes of each 128-bit part: element 4 l + i of the result belongs to part l of sums[i].
static __m512i add_lanes(const __m512i* sums) {
  const __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[0], sums[1]), _mm512_unpackhi_epi32(sums[0], sums[1]));
  const __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[2], sums[3]), _mm512_unpackhi_epi32(sums[2], sums[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
}

/// For one x and bfloat8_b: signs move to x, and products are added up across the register instead of codes being ordered.
static __m512i dot_face_b8(const std::uint8_t* face, __m512i x) {
  __m512i exact[4];
#pragma GCC unroll 4
  for (int quad = 0; quad < 4; ++quad) {
    const __m512i codes = _mm512_loadu_si512(face + 64 * quad);
    const __m512i signed_x = _mm512_mask_sub_epi8(x, _mm512_movepi8_mask(codes), _mm512_setzero_si512(), x);
    exact[quad] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_and_si512(codes, _mm512_set1_epi8(0x7F)), signed_x);
  }
  return add_lanes(exact);
}

/// Sixteen values of one x, four for all rows in each register, and what kOffset adds to their products.
struct XBlock {
  __m512i quads[4];
  __m512i offset;
};

template <int kBits>
static XBlock load_x_block(const std::int8_t* codes) {
  const __m512i x = load_x<kBits>(codes);
  XBlock block = {{_mm512_shuffle_epi32(x, _MM_PERM_AAAA), _mm512_shuffle_epi32(x, _MM_PERM_BBBB), _mm512_shuffle_epi32(x, _MM_PERM_CCCC),
                   _mm512_shuffle_epi32(x, _MM_PERM_DDDD)},
                  _mm512_setzero_si512()};
#pragma GCC unroll 4
  for (const __m512i quad : block.quads)
    block.offset = _mm512_dpbusd_epi32(block.offset, _mm512_set1_epi8(static_cast<char>(kOffset)), quad);
  return block;
}

static __m512i dot_face(const Quads& w, const XBlock& x) {
  __m512i exact = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int quad = 0; quad < 4; ++quad) exact = _mm512_dpbusd_epi32(exact, w.k[quad], x.quads[quad]);
  return _mm512_sub_epi32(exact, x.offset);
}

/// Exact sums of products become values of the result. \param block along k
static void add_scaled(const TileRun& run, int t, std::int64_t block, __m512i exact, __m512 w_scale, __m512& sum) {
  const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(run.scales[t * (run.x_stride / 16) + block]), w_scale);
  sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), scale, sum);
}

/// One tile. Faces are read in the order in which they lie: in another one a quarter of the speed is lost.
template <int kBits, int X>
static void add_tile(const TileRun& run, const std::uint8_t* face, const __m512* scales, std::int64_t left, __m512 (*sums)[2]) {
  XBlock x[X][2];
#pragma GCC unroll 4
  for (int t = 0; t < X; ++t) {
    x[t][0] = load_x_block<kBits>(run.codes + t * run.x_stride + left * 16);
    x[t][1] = load_x_block<kBits>(run.codes + t * run.x_stride + left * 16 + 16);
  }
#pragma GCC unroll 4
  for (int idx = 0; idx < 4; ++idx) {
    const Quads w = load<kBits>(face + idx * kFaceBytes<kBits>);
#pragma GCC unroll 4
    for (int t = 0; t < X; ++t) add_scaled(run, t, left + idx % 2, dot_face(w, x[t][idx % 2]), scales[idx], sums[t][idx / 2]);
  }
}

static void add_tile_b8(const TileRun& run, const std::uint8_t* face, const __m512* scales, std::int64_t left, __m512* sums) {
  const __m512i x[2] = {load_x<7>(run.codes + left * 16), load_x<7>(run.codes + left * 16 + 16)};
#pragma GCC unroll 4
  for (int idx = 0; idx < 4; ++idx)
    add_scaled(run, 0, left + idx % 2, dot_face_b8(face + idx * kFaceBytes<7>, x[idx % 2]), scales[idx], sums[idx / 2]);
}

template <int kBits, int X>
static bool dot_int8(const TileRun& run) {
  const __m512i order = _mm512_broadcast_i32x4(row_order<kBits>());
  __m512 sums[X][2];  // of the upper and the lower 16 rows
  for (int t = 0; t < X; ++t) sums[t][0] = sums[t][1] = _mm512_setzero_ps();
  __mmask64 special = 0;
  const std::uint8_t* tile = run.tiles;
  for (std::int64_t idx = 0; idx < run.num_tiles; ++idx, tile += kTileBytes<kBits>) {
    prefetch(tile + kAhead, kTileBytes<kBits>, run.asked_step);
    const __m512i exponents = _mm512_loadu_si512(tile);
    special |= _mm512_cmpeq_epi8_mask(exponents, _mm512_set1_epi8(-1));
    const __m512i shifted = _mm512_shuffle_epi8(_mm512_subs_epu8(exponents, _mm512_set1_epi8(kBits - 1)), order);
    const __m512 scales[4] = {to_scales<0>(shifted), to_scales<1>(shifted), to_scales<2>(shifted), to_scales<3>(shifted)};
    if constexpr (kBits == 7 && X == 1)
      add_tile_b8(run, tile + kExponents, scales, 2 * idx, sums[0]);
    else
      add_tile<kBits, X>(run, tile + kExponents, scales, 2 * idx, sums);
  }
  const __m512i back = _mm512_cvtepu8_epi32(element_order<kBits>());
  for (int t = 0; t < X; ++t) {
    for (int half = 0; half < 2; ++half)
      _mm512_storeu_ps(run.out + t * run.out_stride + 16 * half, _mm512_permutexvar_ps(back, sums[t][half]));
  }
  return special == 0;
}

template <int kBits>
static bool dot_int8_any(const TileRun& run) {
  switch (run.num_x) {
    case 1:
      return dot_int8<kBits, 1>(run);
    case 2:
      return dot_int8<kBits, 2>(run);
    case 3:
      return dot_int8<kBits, 3>(run);
    default:
      return dot_int8<kBits, 4>(run);
  }
}

const StreamKernels kStreamTable = {.dot_int8_b8 = dot_int8_any<7>, .dot_int8_b4 = dot_int8_any<3>};

}  // namespace meshseek::cpu::avx512_vnni

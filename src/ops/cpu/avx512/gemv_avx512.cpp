#include <immintrin.h>

#include "ops/cpu/gemv_tables.hpp"

// Nothing here may be inline or come from the standard library: see loops.inc.
namespace meshseek::cpu::avx512 {

#include "ops/cpu/gemv_tiles.inc"

constexpr std::int64_t kAhead = 4352;  ///< bytes that are asked for ahead of those in work; see gemv_avx512_vnni.cpp
/// Tiles over which several passes go before the next ones are read, and how many tiles later those are that they ask for. Measured: 2 or 8 in work, or 8
/// ahead, are slower.
constexpr std::int64_t kTilesInWork = 4, kTilesAhead = 12;

/// Signs and magnitudes of four neighbouring rows of a face: 64 codes, row after row.
struct Codes {
  __m512i magnitude;  ///< unsigned bytes
  __mmask64 negative;
};

template <int kBits>
static Codes load_codes(const std::uint8_t* face, int quad) {
  if constexpr (kBits == 7) {
    const __m512i codes = _mm512_loadu_si512(face + quad * 64);
    return {_mm512_and_si512(codes, _mm512_set1_epi8(0x7f)), _mm512_movepi8_mask(codes)};
  } else {
    const __m512i pairs = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(face + quad * 32)));
    // A byte 0xHL becomes the bytes 0x0L, 0x0H.
    const __m512i codes = _mm512_or_si512(pairs, _mm512_slli_epi16(pairs, 4));
    return {_mm512_and_si512(codes, _mm512_set1_epi8(7)), _mm512_test_epi8_mask(codes, _mm512_set1_epi8(8))};
  }
}

static void prefetch(const std::uint8_t* from, std::int64_t bytes, std::int64_t step) {
  for (std::int64_t offset = 0; offset < bytes; offset += step) _mm_prefetch(reinterpret_cast<const char*>(from + offset), _MM_HINT_T2);
}

/// Sums of the four lanes of each 128-bit part: element 4 l + i of the result belongs to part l of sums[i].
static __m512i add_lanes(const __m512i* sums) {
  const __m512i low = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[0], sums[1]), _mm512_unpackhi_epi32(sums[0], sums[1]));
  const __m512i high = _mm512_add_epi32(_mm512_unpacklo_epi32(sums[2], sums[3]), _mm512_unpackhi_epi32(sums[2], sums[3]));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
}

/// 2^(exponent - 127 - (kBits - 1)) for 64 exponents, as exponents of float32; 0 where the slow path says zero.
template <int kBits>
static __m512i scale_exponents(__m512i exponents) {
  return _mm512_subs_epu8(exponents, _mm512_set1_epi8(kBits - 1));
}

static __m512 to_scales(__m128i exponents) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu8_epi32(exponents), 23)); }

template <int kFace>
static __m128i part(__m512i bytes) {
  return _mm512_extracti32x4_epi32(bytes, kFace);
}

/// One face: products of its 16 rows with 16 values of each x, added to `sums` (rows in the order of add_lanes()).
template <int kBits, int X>
static void int8_face(const TileRun& run, const std::uint8_t* face, __m512 w_scale, std::int64_t block, __m512* sums, int sums_step) {
  Codes codes[4];
#pragma GCC unroll 4
  for (int quad = 0; quad < 4; ++quad) codes[quad] = load_codes<kBits>(face, quad);
#pragma GCC unroll 4
  for (int t = 0; t < X; ++t) {
    const __m512i x = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(run.codes + t * run.x_stride + block * 16)));
    __m512i exact[4];
#pragma GCC unroll 4
    for (int quad = 0; quad < 4; ++quad) {
      const __m512i signed_x = _mm512_mask_sub_epi8(x, codes[quad].negative, _mm512_setzero_si512(), x);
      // Pairs stay below 2 * 127 * 127, so that nothing saturates.
      exact[quad] = _mm512_madd_epi16(_mm512_maddubs_epi16(codes[quad].magnitude, signed_x), _mm512_set1_epi16(1));
    }
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(run.scales[t * (run.x_stride / 16) + block]), w_scale);
    __m512& sum = sums[t * sums_step];
    sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(add_lanes(exact)), scale, sum);
  }
}

template <int kBits, int X>
static bool dot_int8(const TileRun& run) {
  // Row 4 i + l of a face is element 4 l + i of add_lanes(), and the other way round.
  const __m512i order = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  __m512 sums[X][2];
  for (int t = 0; t < X; ++t) sums[t][0] = sums[t][1] = _mm512_setzero_ps();
  __mmask64 special = 0;
  const std::uint8_t* tile = run.tiles;
  for (std::int64_t idx = 0; idx < run.num_tiles; ++idx, tile += kTileBytes<kBits>) {
    prefetch(tile + kAhead, kTileBytes<kBits>, run.asked_step);
    const __m512i exponents = _mm512_loadu_si512(tile);
    special |= _mm512_cmpeq_epi8_mask(exponents, _mm512_set1_epi8(-1));
    const __m512i scales = _mm512_shuffle_epi8(scale_exponents<kBits>(exponents), order);
    const std::uint8_t* face = tile + kExponents;
    int8_face<kBits, X>(run, face, to_scales(part<0>(scales)), 2 * idx, &sums[0][0], 2);
    int8_face<kBits, X>(run, face + kFaceBytes<kBits>, to_scales(part<1>(scales)), 2 * idx + 1, &sums[0][0], 2);
    int8_face<kBits, X>(run, face + 2 * kFaceBytes<kBits>, to_scales(part<2>(scales)), 2 * idx, &sums[0][1], 2);
    int8_face<kBits, X>(run, face + 3 * kFaceBytes<kBits>, to_scales(part<3>(scales)), 2 * idx + 1, &sums[0][1], 2);
  }
  const __m512i back = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  for (int t = 0; t < X; ++t) {
    for (int half = 0; half < 2; ++half)
      _mm512_storeu_ps(run.out + t * run.out_stride + 16 * half, _mm512_permutexvar_ps(back, sums[t][half]));
  }
  return special == 0;
}

// ---------------------------------------------------------------- float activations

/// Whether magnitude times 2^n is what the exponents of a tile mean: none is 255, and values of tiny ones are all zero.
template <int kBits>
static bool is_regular(const std::uint8_t* tile) {
  const __m512i exponents = _mm512_loadu_si512(tile);
  if (_mm512_cmpeq_epi8_mask(exponents, _mm512_set1_epi8(-1)) != 0) return false;
  return are_zero<kBits>(tile, _mm512_cmplt_epu8_mask(exponents, _mm512_set1_epi8(kBits)));
}

/// Four rows of a face as signed bytes.
template <int kBits>
static __m512i load_signed(const std::uint8_t* face, int quad) {
  const Codes codes = load_codes<kBits>(face, quad);
  return _mm512_mask_sub_epi8(codes.magnitude, codes.negative, _mm512_setzero_si512(), codes.magnitude);
}

template <int kRow>
static __m512 widen_row(__m512i quad) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(part<kRow>(quad)));
}

template <int X>
static void add_row(__m512 w, const __m512* x, __m512* sums, int sums_step) {
#pragma GCC unroll 4
  for (int t = 0; t < X; ++t) sums[t * sums_step] = _mm512_fmadd_ps(x[t], w, sums[t * sums_step]);
}

/// The sixteen lanes in the order of sum16() in loops.inc.
static float add_sixteen(__m512 sum) {
  const __m128 sums = _mm_add_ps(_mm_add_ps(_mm512_castps512_ps128(sum), _mm512_extractf32x4_ps(sum, 2)),
                                 _mm_add_ps(_mm512_extractf32x4_ps(sum, 1), _mm512_extractf32x4_ps(sum, 3)));
  const __m128 pairs = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
  return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps(pairs, pairs, 1)));
}

/// The tiles in work, taken apart. Widening and broadcasting loads cost less than taking registers apart, but only of what was stored long before: a load
/// right after a store of another width waits (measured: 3.1 instead of 2 cycles for 16 products).
struct TilesInWork {
  alignas(64) std::int8_t codes[kTilesInWork][64][16];  ///< face, row of the face, column: as in the file
  alignas(64) float scales[kTilesInWork][64];
};

/// \return false when a tile is not regular.
template <int kBits>
static bool take_apart(const std::uint8_t* tile, std::int64_t num_tiles, TilesInWork& work) {
  constexpr int kQuadBytes = kBits == 7 ? 64 : 32;
  for (std::int64_t idx = 0; idx < num_tiles; ++idx, tile += kTileBytes<kBits>) {
    if (!is_regular<kBits>(tile)) return false;
    const __m512i exponents = scale_exponents<kBits>(_mm512_loadu_si512(tile));
    _mm512_store_ps(work.scales[idx], to_scales(part<0>(exponents)));
    _mm512_store_ps(work.scales[idx] + 16, to_scales(part<1>(exponents)));
    _mm512_store_ps(work.scales[idx] + 32, to_scales(part<2>(exponents)));
    _mm512_store_ps(work.scales[idx] + 48, to_scales(part<3>(exponents)));
#pragma GCC unroll 4
    for (int quad = 0; quad < 16; ++quad) {
      const __m512i codes = load_signed<kBits>(tile + kExponents + quad * kQuadBytes, 0);
      _mm512_store_si512(work.codes[idx][4 * quad], codes);
    }
  }
  return true;
}

/// Rows first_row to first_row + kRows of `work`, whose tiles begin at begin_tile, added to `partial` [X][kRows]; in between the sums stay in registers.
template <int kBits, int X, int kRows>
static void add_dots(const TileRun& run, const TilesInWork& work, std::int64_t begin_tile, std::int64_t num_tiles, int first_row,
                     __m512* partial) {
  // Each pass asks for its share of the lines of later tiles, so that memory is never idle.
  constexpr std::int64_t kLines = kTileBytes<kBits> / 64;
  const std::int64_t ahead = kLines * first_row / 32 * 64;
  const std::int64_t ahead_bytes = kLines * (first_row + kRows) / 32 * 64 - ahead;
  const std::uint8_t* later = run.tiles + (begin_tile + kTilesAhead) * kTileBytes<kBits> + ahead;
  const int first = first_row / 16 * 32 + first_row % 16;  // in the left face; the right one's rows come 16 later
  __m512 sums[X][kRows];
  for (int t = 0; t < X; ++t) {
    for (int row = 0; row < kRows; ++row) sums[t][row] = partial[t * kRows + row];
  }
  for (std::int64_t idx = 0; idx < num_tiles; ++idx, later += kTileBytes<kBits>) {
    prefetch(later, ahead_bytes, run.asked_step);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m512 x[X];
      for (int t = 0; t < X; ++t) x[t] = _mm512_loadu_ps(run.x + t * run.x_stride + (begin_tile + idx) * 32 + half * 16);
      const __m128i* codes = reinterpret_cast<const __m128i*>(work.codes[idx][first + 16 * half]);
      const float* scales = work.scales[idx] + first + 16 * half;
#pragma GCC unroll 16
      for (int row = 0; row < kRows; ++row) {
        const __m512 w = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128(codes + row)));
        add_row<X>(_mm512_mul_ps(w, _mm512_set1_ps(scales[row])), x, &sums[0][row], kRows);
      }
    }
  }
  for (int t = 0; t < X; ++t) {
    for (int row = 0; row < kRows; ++row) partial[t * kRows + row] = sums[t][row];
  }
}

/// All 32 rows: too many sums for the registers, so that several passes go over a few tiles before the next ones are read.
template <int kBits, int X>
static bool dot(const TileRun& run) {
  constexpr int kRows = X == 1 ? 16 : X == 2 ? 8 : 4;
  __m512 sums[32 / kRows][X * kRows];
  for (auto& pass : sums) {
    for (__m512& sum : pass) sum = _mm512_setzero_ps();
  }
  TilesInWork work;
  for (std::int64_t begin = 0; begin < run.num_tiles; begin += kTilesInWork) {
    const std::int64_t num_tiles = run.num_tiles - begin < kTilesInWork ? run.num_tiles - begin : kTilesInWork;
    if (!take_apart<kBits>(run.tiles + begin * kTileBytes<kBits>, num_tiles, work)) return false;
    for (int row = 0; row < 32; row += kRows) add_dots<kBits, X, kRows>(run, work, begin, num_tiles, row, sums[row / kRows]);
  }
  for (int row = 0; row < 32; ++row) {
    for (int t = 0; t < X; ++t) run.out[t * run.out_stride + row] = add_sixteen(sums[row / kRows][t * kRows + row % kRows]);
  }
  return true;
}

// ---------------------------------------------------------------- the rows of the matrix added up

template <int X>
static void add_scaled_row(const TileRun& run, std::int64_t row, __m512 left, __m512 right, __m512 (*sums)[2]) {
#pragma GCC unroll 4
  for (int t = 0; t < X; ++t) {
    const __m512 x = _mm512_set1_ps(run.x[t * run.x_stride + row]);
    sums[t][0] = _mm512_fmadd_ps(x, left, sums[t][0]);
    sums[t][1] = _mm512_fmadd_ps(x, right, sums[t][1]);
  }
}

template <int kBits, int X>
static void add_tile(const TileRun& run, const std::uint8_t* tile, float* out) {
  alignas(64) float scales[64];
  const __m512i exponents = scale_exponents<kBits>(_mm512_loadu_si512(tile));
  _mm512_store_ps(scales, to_scales(part<0>(exponents)));
  _mm512_store_ps(scales + 16, to_scales(part<1>(exponents)));
  _mm512_store_ps(scales + 32, to_scales(part<2>(exponents)));
  _mm512_store_ps(scales + 48, to_scales(part<3>(exponents)));
  __m512 sums[X][2];
  for (int t = 0; t < X; ++t) {
    for (int half = 0; half < 2; ++half) sums[t][half] = _mm512_loadu_ps(out + t * run.out_stride + 16 * half);
  }
  for (int lower = 0; lower < 2; ++lower) {
    const std::uint8_t* face = tile + kExponents + 2 * lower * kFaceBytes<kBits>;
    for (int quad = 0; quad < 4; ++quad) {
      const __m512i left = load_signed<kBits>(face, quad);
      const __m512i right = load_signed<kBits>(face + kFaceBytes<kBits>, quad);
      const float* scale = scales + 32 * lower + 4 * quad;
      const std::int64_t row = 16 * lower + 4 * quad;
      const auto scaled = [](__m512 w, float by) { return _mm512_mul_ps(w, _mm512_set1_ps(by)); };
      add_scaled_row<X>(run, row, scaled(widen_row<0>(left), scale[0]), scaled(widen_row<0>(right), scale[16]), sums);
      add_scaled_row<X>(run, row + 1, scaled(widen_row<1>(left), scale[1]), scaled(widen_row<1>(right), scale[17]), sums);
      add_scaled_row<X>(run, row + 2, scaled(widen_row<2>(left), scale[2]), scaled(widen_row<2>(right), scale[18]), sums);
      add_scaled_row<X>(run, row + 3, scaled(widen_row<3>(left), scale[3]), scaled(widen_row<3>(right), scale[19]), sums);
    }
  }
  for (int t = 0; t < X; ++t) {
    for (int half = 0; half < 2; ++half) _mm512_storeu_ps(out + t * run.out_stride + 16 * half, sums[t][half]);
  }
}

template <int kBits, int X>
static bool add_rows(const TileRun& run) {
  const std::uint8_t* tile = run.tiles;
  for (std::int64_t idx = 0; idx < run.num_tiles; ++idx, tile += kTileBytes<kBits>) {
    prefetch(tile + kAhead, kTileBytes<kBits>, run.asked_step);
    if (!is_regular<kBits>(tile)) return false;
    add_tile<kBits, X>(run, tile, run.out + 32 * idx);
  }
  return true;
}

#include "ops/cpu/gemv_table.inc"

}  // namespace meshseek::cpu::avx512

#include <immintrin.h>

#include "ops/cpu/gemv_tables.hpp"

// Nothing here may be inline or come from the standard library: see loops.inc.
namespace meshseek::cpu::avx2 {

#include "ops/cpu/gemv_tiles.inc"

constexpr std::int64_t kAhead = 4352;  ///< bytes that are asked for ahead of those in work

/// Two neighbouring rows of a face: 32 codes.
struct Codes {
  __m256i magnitude;  ///< unsigned bytes
  __m256i sign;       ///< bytes that are negative where the code is, and 0 only where the magnitude is
};

template <int kBits>
static Codes load_codes(const std::uint8_t* face, int pair) {
  if constexpr (kBits == 7) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(face + pair * 32));
    return {_mm256_and_si256(codes, _mm256_set1_epi8(0x7f)), codes};
  } else {
    const __m256i bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(face + pair * 16)));
    // A byte 0xHL becomes the bytes 0x0L, 0x0H.
    const __m256i codes = _mm256_and_si256(_mm256_or_si256(bytes, _mm256_slli_epi16(bytes, 4)), _mm256_set1_epi8(0x0f));
    return {_mm256_and_si256(codes, _mm256_set1_epi8(7)), _mm256_slli_epi16(codes, 4)};
  }
}

static void prefetch(const std::uint8_t* from, std::int64_t bytes) {
  for (std::int64_t offset = 0; offset < bytes; offset += 64) _mm_prefetch(reinterpret_cast<const char*>(from + offset), _MM_HINT_T0);
}

/// The 16 exponents of a face, reduced so that their power of two is what magnitude 1 stands for; 0 where the slow path says zero.
template <int kBits>
static __m128i scale_exponents(const std::uint8_t* exponents) {
  return _mm_subs_epu8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(exponents)), _mm_set1_epi8(kBits - 1));
}

/// The lower eight.
static __m256 to_scales(__m128i exponents) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu8_epi32(exponents), 23)); }

static bool has_exponent_255(const std::uint8_t* tile) {
  __m256i found = _mm256_setzero_si256();
  for (int half = 0; half < 2; ++half) {
    const __m256i exponents = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile + 32 * half));
    found = _mm256_or_si256(found, _mm256_cmpeq_epi8(exponents, _mm256_set1_epi8(-1)));
  }
  return _mm256_testz_si256(found, found) == 0;
}

/// Sums of the four lanes of each 128-bit part of four vectors: element 4 l + i belongs to part l of sums[i].
static __m256i add_lanes(const __m256i* sums) {
  return _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
}

/// One face: products of its 16 rows with 16 values of each x, added to `sums` (rows in the order of add_lanes(), eight by eight).
template <int kBits, int X>
static void int8_face(const TileRun& run, const std::uint8_t* face, __m128i exponents, std::int64_t block, __m256 (*sums)[2]) {
  const __m256 w_scales[2] = {to_scales(exponents), to_scales(_mm_srli_si128(exponents, 8))};
  for (int half = 0; half < 2; ++half) {
    Codes codes[4];
#pragma GCC unroll 4
    for (int pair = 0; pair < 4; ++pair) codes[pair] = load_codes<kBits>(face, 4 * half + pair);
#pragma GCC unroll 4
    for (int t = 0; t < X; ++t) {
      const __m256i x =
          _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(run.codes + t * run.x_stride + block * 16)));
      __m256i exact[4];
#pragma GCC unroll 4
      for (int pair = 0; pair < 4; ++pair) {
        // Pairs stay below 2 * 127 * 127, so that nothing saturates.
        const __m256i products = _mm256_maddubs_epi16(codes[pair].magnitude, _mm256_sign_epi8(x, codes[pair].sign));
        exact[pair] = _mm256_madd_epi16(products, _mm256_set1_epi16(1));
      }
      const __m256 scale = _mm256_mul_ps(_mm256_set1_ps(run.scales[t * (run.x_stride / 16) + block]), w_scales[half]);
      sums[t][half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(add_lanes(exact)), scale, sums[t][half]);
    }
  }
}

template <int kBits, int X>
static bool dot_int8(const TileRun& run) {
  // Row 2 i + l of eight is element 4 l + i of add_lanes().
  const __m128i order = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  __m256 sums[2][X][2];  // upper and lower rows of the tile
  for (int lower = 0; lower < 2; ++lower) {
    for (int t = 0; t < X; ++t) sums[lower][t][0] = sums[lower][t][1] = _mm256_setzero_ps();
  }
  bool regular = true;
  const std::uint8_t* tile = run.tiles;
  for (std::int64_t idx = 0; idx < run.num_tiles; ++idx, tile += kTileBytes<kBits>) {
    prefetch(tile + kAhead, kTileBytes<kBits>);
    regular = regular && !has_exponent_255(tile);
    for (int face = 0; face < 4; ++face) {
      const __m128i exponents = _mm_shuffle_epi8(scale_exponents<kBits>(tile + 16 * face), order);
      int8_face<kBits, X>(run, tile + kExponents + face * kFaceBytes<kBits>, exponents, 2 * idx + face % 2, sums[face / 2]);
    }
  }
  const __m256i back = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int t = 0; t < X; ++t) {
    for (int eight = 0; eight < 4; ++eight)
      _mm256_storeu_ps(run.out + t * run.out_stride + 8 * eight, _mm256_permutevar8x32_ps(sums[eight / 2][t][eight % 2], back));
  }
  return regular;
}

// ---------------------------------------------------------------- float activations

/// Whether magnitude times 2^n is what the exponents of a tile mean: none is 255, and values of tiny ones are all zero.
template <int kBits>
static bool is_regular(const std::uint8_t* tile) {
  if (has_exponent_255(tile)) return false;
  std::uint64_t tiny = 0;
  for (int half = 0; half < 2; ++half) {
    const __m256i exponents = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile + 32 * half));
    const __m256i fits = _mm256_cmpeq_epi8(_mm256_max_epu8(exponents, _mm256_set1_epi8(kBits)), exponents);
    tiny |= static_cast<std::uint64_t>(~static_cast<std::uint32_t>(_mm256_movemask_epi8(fits))) << (32 * half);
  }
  return are_zero<kBits>(tile, tiny);
}

/// Sixteen weights of one row as floats.
struct Row {
  __m256 left;
  __m256 right;
};

/// Two neighbouring rows of a face, times their scales.
template <int kBits>
static void load_rows(const std::uint8_t* face, int pair, const float* scales, Row* rows) {
  const Codes codes = load_codes<kBits>(face, pair);
  const __m256i bytes = _mm256_sign_epi8(codes.magnitude, codes.sign);
  const __m128i halves[2] = {_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)};
#pragma GCC unroll 2
  for (int row = 0; row < 2; ++row) {
    const __m256 scale = _mm256_set1_ps(scales[2 * pair + row]);
    rows[row].left = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(halves[row])), scale);
    rows[row].right = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(halves[row], 8))), scale);
  }
}

template <int kBits>
static void load_scales(const std::uint8_t* exponents, float* scales) {
  const __m128i reduced = scale_exponents<kBits>(exponents);
  _mm256_storeu_ps(scales, to_scales(reduced));
  _mm256_storeu_ps(scales + 8, to_scales(_mm_srli_si128(reduced, 8)));
}

/// The sixteen lanes in the order of sum16() in loops.inc.
static float add_sixteen(__m256 left, __m256 right) {
  const __m256 both = _mm256_add_ps(left, right);
  const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
  const __m128 pairs = _mm_add_ps(sums, _mm_movehl_ps(sums, sums));
  return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_shuffle_ps(pairs, pairs, 1)));
}

/// Four rows of the tiles and one row of x: a pass whose sums stay in registers.
template <int kBits>
static bool dot_rows(const TileRun& run, const float* x, int first_row, bool is_first, float* out) {
  __m256 sums[4][2];
  for (int row = 0; row < 4; ++row) sums[row][0] = sums[row][1] = _mm256_setzero_ps();
  const std::uint8_t* tile = run.tiles;
  for (std::int64_t idx = 0; idx < run.num_tiles; ++idx, tile += kTileBytes<kBits>) {
    if (is_first) {
      prefetch(tile + kAhead, kTileBytes<kBits>);
      if (!is_regular<kBits>(tile)) return false;
    }
    for (int half = 0; half < 2; ++half) {
      const int face = first_row / 16 * 2 + half;
      float scales[16];
      load_scales<kBits>(tile + 16 * face, scales);
      const __m256 left = _mm256_loadu_ps(x + idx * 32 + half * 16);
      const __m256 right = _mm256_loadu_ps(x + idx * 32 + half * 16 + 8);
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair) {
        Row rows[2];
        load_rows<kBits>(tile + kExponents + face * kFaceBytes<kBits>, first_row % 16 / 2 + pair, scales, rows);
#pragma GCC unroll 2
        for (int row = 0; row < 2; ++row) {
          sums[2 * pair + row][0] = _mm256_fmadd_ps(left, rows[row].left, sums[2 * pair + row][0]);
          sums[2 * pair + row][1] = _mm256_fmadd_ps(right, rows[row].right, sums[2 * pair + row][1]);
        }
      }
    }
  }
  for (int row = 0; row < 4; ++row) out[first_row + row] = add_sixteen(sums[row][0], sums[row][1]);
  return true;
}

/// One row of x after the other: the tiles are in the cache from the second on.
template <int kBits, int X>
static bool dot(const TileRun& run) {
  for (int row = 0; row < 32; row += 4) {
    for (int t = 0; t < X; ++t) {
      if (!dot_rows<kBits>(run, run.x + t * run.x_stride, row, row == 0 && t == 0, run.out + t * run.out_stride)) return false;
    }
  }
  return true;
}

// ---------------------------------------------------------------- the rows of the matrix added up

template <int kBits>
static void add_tile(const float* x, const std::uint8_t* tile, float* out) {
  __m256 sums[4];
  for (int eight = 0; eight < 4; ++eight) sums[eight] = _mm256_loadu_ps(out + 8 * eight);
  for (int face = 0; face < 4; face += 2) {
    float scales[2][16];
    load_scales<kBits>(tile + 16 * face, scales[0]);
    load_scales<kBits>(tile + 16 * face + 16, scales[1]);
    const std::uint8_t* codes = tile + kExponents + face * kFaceBytes<kBits>;
    for (int pair = 0; pair < 8; ++pair) {
      Row left[2];
      Row right[2];
      load_rows<kBits>(codes, pair, scales[0], left);
      load_rows<kBits>(codes + kFaceBytes<kBits>, pair, scales[1], right);
      for (int row = 0; row < 2; ++row) {
        const __m256 factor = _mm256_set1_ps(x[8 * face + 2 * pair + row]);
        sums[0] = _mm256_fmadd_ps(factor, left[row].left, sums[0]);
        sums[1] = _mm256_fmadd_ps(factor, left[row].right, sums[1]);
        sums[2] = _mm256_fmadd_ps(factor, right[row].left, sums[2]);
        sums[3] = _mm256_fmadd_ps(factor, right[row].right, sums[3]);
      }
    }
  }
  for (int eight = 0; eight < 4; ++eight) _mm256_storeu_ps(out + 8 * eight, sums[eight]);
}

template <int kBits, int X>
static bool add_rows(const TileRun& run) {
  const std::uint8_t* tile = run.tiles;
  for (std::int64_t idx = 0; idx < run.num_tiles; ++idx, tile += kTileBytes<kBits>) {
    prefetch(tile + kAhead, kTileBytes<kBits>);
    if (!is_regular<kBits>(tile)) return false;
    for (int t = 0; t < X; ++t) add_tile<kBits>(run.x + t * run.x_stride, tile, run.out + t * run.out_stride + 32 * idx);
  }
  return true;
}

#include "ops/cpu/gemv_table.inc"

}  // namespace meshseek::cpu::avx2

// The kernels of cpu/tile_kernels.hpp with the instructions. Inline assembly, not intrinsics: those of g++ 12 tell the compiler neither
// that ldtilecfg reads 64 bytes nor that tileloadd reads memory at all, so that it drops or moves the stores before them.
#include <immintrin.h>

#include "ops/cpu/amx/amx.hpp"

namespace meshseek::cpu::amx {

namespace {

#include "ops/cpu/amx/vector_types.inc"

void load_config(const TileConfig& config) { __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory"); }
void release() { __asm__ volatile("tilerelease" : : : "memory"); }

template <int kTile>
void zero_tile() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile));
}

template <int kTile>
void load_tile(const void* from, std::int64_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
void store_tile(void* to, std::int64_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
}

template <int C, int A, int B>
void add_int8_products() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

template <int C, int A, int B>
void add_bf16_products() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(C), "i"(A), "i"(B));
}

void add_product(Floats& sum, const Floats& a, const Floats& b) {
  sum = reinterpret_cast<Floats>(_mm512_fmadd_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(sum)));
}

Floats broadcast_halves(const float& low, const float& high) {
  return reinterpret_cast<Floats>(_mm512_mask_broadcastss_ps(_mm512_set1_ps(low), 0xFF00, _mm_set_ss(high)));
}

Bits widen(Bytes16 bytes) { return reinterpret_cast<Bits>(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(bytes))); }

__m128i load_block(const std::uint8_t* block) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(block)); }

/// Two blocks of eight bytes.
__m128i load_halves(const std::uint8_t* first, const std::uint8_t* second) {
  const __m128d low = _mm_load_sd(reinterpret_cast<const double*>(first));
  return _mm_castpd_si128(_mm_loadh_pd(low, reinterpret_cast<const double*>(second)));
}

Words load_words(const std::uint8_t* first, const std::uint8_t* second) {
  const __m256i low = _mm256_castsi128_si256(load_block(first));
  return reinterpret_cast<Words>(_mm512_cvtepu8_epi16(_mm256_inserti128_si256(low, load_block(second), 1)));
}

Bits load_pairs(const std::uint8_t* first, const std::uint8_t* second) {
  return reinterpret_cast<Bits>(_mm512_cvtepu8_epi32(load_halves(first, second)));
}

Bytes load_blocks(const std::uint8_t* const* blocks, std::int64_t offset) {
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load_block(blocks[0] + offset)), load_block(blocks[1] + offset), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(load_block(blocks[2] + offset)), load_block(blocks[3] + offset), 1);
  return reinterpret_cast<Bytes>(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}

Words load_nibbles(const std::uint8_t* const* blocks, std::int64_t offset) {
  const __m256i low = _mm256_castsi128_si256(load_halves(blocks[0] + offset, blocks[1] + offset));
  return reinterpret_cast<Words>(
      _mm512_cvtepu8_epi16(_mm256_inserti128_si256(low, load_halves(blocks[2] + offset, blocks[3] + offset), 1)));
}

Shorts spread(std::uint32_t counts) {
  // Byte i to the even bytes of quarter i, zeros (bit 7) to the odd ones.
  const __m512i order = _mm512_setr_epi64(0x8000800080008000, 0x8000800080008000, 0x8001800180018001, 0x8001800180018001,
                                          0x8002800280028002, 0x8002800280028002, 0x8003800380038003, 0x8003800380038003);
  return reinterpret_cast<Shorts>(_mm512_shuffle_epi8(_mm512_set1_epi32(static_cast<int>(counts)), order));
}

// Each needs those before it.
// clang-format off
#include "ops/cpu/block_codes.inc"
#include "ops/cpu/amx/vectors.inc"
#include "ops/cpu/amx/stored_tiles.inc"
#include "ops/cpu/amx/products.inc"
#include "ops/cpu/amx/attention.inc"
// clang-format on

}  // namespace

const TileKernels& tile_kernels() { return kTileKernels; }

}  // namespace meshseek::cpu::amx

// The kernels of cpu/tile_kernels.hpp with the instructions. Inline assembly, not intrinsics: those of g++ 12 tell the compiler neither
// that ldtilecfg reads 64 bytes nor that tileloadd reads memory at all, so that it drops or moves the stores before them.
#include <immintrin.h>

#include "ops/cpu/amx/amx.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::amx {

namespace {

constexpr int kVectorBytes = 64;

#include "ops/cpu/panels/vector_types.inc"

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

#include "ops/cpu/panels/lanes_avx512.inc"

Bits widen(Bytes16 bytes) { return reinterpret_cast<Bits>(_mm512_cvtepu8_epi32(reinterpret_cast<__m128i>(bytes))); }

Floats broadcast_halves(const float& low, const float& high) {
  return reinterpret_cast<Floats>(_mm512_mask_broadcastss_ps(_mm512_set1_ps(low), 0xFF00, _mm_set_ss(high)));
}

Words load_words(const std::uint8_t* first, const std::uint8_t* second) {
  const __m256i low = _mm256_castsi128_si256(load_block(first));
  return reinterpret_cast<Words>(_mm512_cvtepu8_epi16(_mm256_inserti128_si256(low, load_block(second), 1)));
}

Bits load_pairs(const std::uint8_t* first, const std::uint8_t* second) {
  return reinterpret_cast<Bits>(_mm512_cvtepu8_epi32(load_halves(first, second)));
}

constexpr std::int32_t kInt8Flip = 0;  // tiles multiply signed by signed

// Each needs those before it.
// clang-format off
#include "ops/cpu/block_codes.inc"
#include "ops/cpu/panels/vectors.inc"
#include "ops/cpu/panels/stored_integers.inc"
#include "ops/cpu/panels/rows.inc"
#include "ops/cpu/amx/stored_bf16.inc"
#include "ops/cpu/amx/products.inc"
#include "ops/cpu/amx/attention.inc"
// clang-format on

}  // namespace

const TileKernels& tile_kernels() { return kTileKernels; }

}  // namespace meshseek::cpu::amx

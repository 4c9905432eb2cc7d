// The products of amx/products.inc with the instructions. Inline assembly, not intrinsics: those of g++ 12 tell the compiler neither
// that ldtilecfg reads 64 bytes nor that tileloadd reads memory at all, so that it drops or moves the stores before them.
#include <immintrin.h>

#include "ops/cpu/amx/amx.hpp"

namespace meshseek::cpu::amx {

namespace {

using Floats __attribute__((vector_size(64))) = float;
using Ints __attribute__((vector_size(64))) = std::int32_t;

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

#include "ops/cpu/amx/products.inc"

}  // namespace

Kernels extend(Kernels base) {
  base.isa = "amx";
  base.dot_block_int8 = dot_block_int8;
  base.pack_bf16 = pack_bf16;
  base.dot_block_bf16 = dot_block_bf16;
  return base;
}

}  // namespace meshseek::cpu::amx

// Integer products of panels (cpu/tile_kernels.hpp) with AVX-512 VNNI: what machines without a matrix unit have in place of tiles, with their bits.
#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::avx512_vnni {

namespace {

constexpr int kVectorBytes = 64;

#include "ops/cpu/panels/vector_types.inc"

/// The instruction multiplies unsigned by signed bytes: weights are stored with 128 added.
constexpr std::int32_t kInt8Flip = static_cast<std::int32_t>(0x80808080);

// Each needs those before it.
// clang-format off
#include "ops/cpu/panels/lanes_avx512.inc"
#include "ops/cpu/block_codes.inc"
#include "ops/cpu/panels/vectors.inc"
#include "ops/cpu/panels/stored_integers.inc"
#include "ops/cpu/panels/rows.inc"
// clang-format on

template <PanelForm kForm>
Ints add_products(const Ints& sum, const Ints& w, const Ints& x) {
  const auto a = reinterpret_cast<__m512i>(w), b = reinterpret_cast<__m512i>(x), c = reinterpret_cast<__m512i>(sum);
  if constexpr (kForm == PanelForm::int8) return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(c, a, b));
  return reinterpret_cast<Ints>(_mm512_dpwssd_epi32(c, a, b));
}

constexpr int kPanelSums = 16;

#include "ops/cpu/panels/integer_products.inc"

}  // namespace

const TileKernels kPanelKernels = {.int8_of_b8 = integers_of_stored<PanelForm::int8, 7>,
                                   .int8_of_b4 = integers_of_stored<PanelForm::int8, 3>,
                                   .int16_of_b8 = integers_of_stored<PanelForm::int16, 7>,
                                   .int16_of_b4 = integers_of_stored<PanelForm::int16, 3>,
                                   .few_rows = kMostFewRows,
                                   .int8_flip = 0x80,
                                   .quantise = quantise,
                                   .quantise_int16 = quantise_int16,
                                   .pack = pack,
                                   .multiply_int8 = multiply_integers<PanelForm::int8>,
                                   .multiply_int16 = multiply_integers<PanelForm::int16>,
                                   .transpose_sums = transpose_sums,
                                   .multiply_add_int16 = multiply_add_int16};

}  // namespace meshseek::cpu::avx512_vnni

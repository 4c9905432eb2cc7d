// Integer products of panels (cpu/tile_kernels.hpp) with AVX2: int16 alone, twice as many products an instruction as float32 has.
#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::avx2 {

namespace {

constexpr int kVectorBytes = 32;
constexpr std::int32_t kInt8Flip = 0;

// Each needs those before it.
// clang-format off
#include "ops/cpu/panels/vector_types.inc"
#include "ops/cpu/panels/lanes_avx2.inc"
#include "ops/cpu/block_codes.inc"
#include "ops/cpu/panels/vectors.inc"
#include "ops/cpu/panels/stored_integers.inc"
#include "ops/cpu/panels/rows.inc"
// clang-format on

template <PanelForm kForm>
Ints add_products(const Ints& sum, const Ints& w, const Ints& x) {
  static_assert(kForm == PanelForm::int16);
  return sum + reinterpret_cast<Ints>(_mm256_madd_epi16(reinterpret_cast<__m256i>(w), reinterpret_cast<__m256i>(x)));
}

constexpr int kPanelSums = 8;

#include "ops/cpu/panels/integer_products.inc"

}  // namespace

const TileKernels kPanelKernels = {.int16_of_b8 = integers_of_stored<PanelForm::int16, 7>,
                                   .int16_of_b4 = integers_of_stored<PanelForm::int16, 3>,
                                   .few_rows = kMostFewRows,
                                   .quantise_int16 = quantise_int16,
                                   .pack = pack,
                                   .multiply_int16 = multiply_integers<PanelForm::int16>,
                                   .transpose_sums = transpose_sums,
                                   .multiply_add_int16 = multiply_add_int16};

}  // namespace meshseek::cpu::avx2

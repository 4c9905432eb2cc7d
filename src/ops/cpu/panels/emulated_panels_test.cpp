// Panels as machines with AVX-512 and VNNI have them, with the instructions in plain C++: their loops are tested on any machine.
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "ops/cpu/amx/test_tiles.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu {
namespace {

constexpr int kVectorBytes = 64;
constexpr std::int32_t kInt8Flip = static_cast<std::int32_t>(0x80808080);

// Each needs those before it.
// clang-format off
#include "ops/cpu/panels/vector_types.inc"
#include "ops/cpu/panels/lanes_emulated.inc"
#include "ops/cpu/block_codes.inc"
#include "ops/cpu/panels/vectors.inc"
#include "ops/cpu/panels/stored_integers.inc"
#include "ops/cpu/panels/rows.inc"
// clang-format on

/// vpdpbusd, unsigned w by signed x, and vpdpwssd; sums wrap.
template <PanelForm kForm>
Ints add_products(const Ints& sum, const Ints& w, const Ints& x) {
  Ints sums = sum;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::int32_t w_lane = w[lane], x_lane = x[lane];
    std::uint8_t w_bytes[4];
    std::int8_t x_bytes[4];
    std::int16_t w_words[2], x_words[2];
    std::memcpy(w_bytes, &w_lane, 4);
    std::memcpy(x_bytes, &x_lane, 4);
    std::memcpy(w_words, &w_lane, 4);
    std::memcpy(x_words, &x_lane, 4);
    if constexpr (kForm == PanelForm::int8) {
      for (int idx = 0; idx < 4; ++idx) sums[lane] += w_bytes[idx] * x_bytes[idx];
    } else {
      sums[lane] += w_words[0] * x_words[0] + w_words[1] * x_words[1];
    }
  }
  return sums;
}

constexpr int kPanelSums = 16;

#include "ops/cpu/panels/integer_products.inc"

}  // namespace

const TileKernels& amx::emulated_panels() {
  static const TileKernels table = {.int8_of_b8 = integers_of_stored<PanelForm::int8, 7>,
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
  return table;
}

}  // namespace meshseek::cpu

// Takes the place of base/amx_permission.cpp and ops/cpu/amx/kernels_amx.cpp in a test program: kernels() then chooses a table "amx" whose
// tiles are emulated, and the probed device has them.
#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "base/amx_permission.hpp"
#include "ops/cpu/amx/amx.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek {

bool amx_is_permitted() { return true; }

namespace cpu::amx {

namespace {
constexpr int kVectorBytes = 64;

// Each needs those before it.
// clang-format off
#include "ops/cpu/panels/vector_types.inc"
#include "ops/cpu/amx/emulated_tiles.inc"
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

}  // namespace cpu::amx
}  // namespace meshseek

// Takes the place of ops/cpu/amx/detect.cpp and kernels_amx.cpp in a test program: kernels() then chooses a table "amx" whose tiles are
// emulated.
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "ops/cpu/amx/amx.hpp"

namespace meshseek::cpu::amx {

namespace {
#include "ops/cpu/amx/emulated_tiles.inc"
#include "ops/cpu/amx/products.inc"
}  // namespace

bool is_available() { return true; }
bool is_default() { return true; }

Kernels extend(Kernels base) {
  base.isa = "amx";
  base.dot_block_int8 = dot_block_int8;
  base.pack_bf16 = pack_bf16;
  base.dot_block_bf16 = dot_block_bf16;
  return base;
}

}  // namespace meshseek::cpu::amx

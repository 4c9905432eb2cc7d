/// Panels of rows and of weights that are multiplied without a matrix unit.
#pragma once
#include "ops/cpu/tile_kernels.hpp"

namespace meshseek::cpu {

namespace avx512_vnni {
/// int8 alone. For machines with AVX-512 and VNNI.
extern const TileKernels kPanelKernels;
}  // namespace avx512_vnni

}  // namespace meshseek::cpu

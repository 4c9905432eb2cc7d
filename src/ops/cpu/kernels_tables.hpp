/// The tables that the per-ISA files define.
#pragma once
#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {

namespace scalar {
extern const Kernels kTable;  ///< what the compiler makes of the loops for any x86-64
}
namespace avx2 {
extern const Kernels kTable;
extern const TileKernels kPanelKernels;  ///< int16 alone
}  // namespace avx2
namespace avx2_vnni {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
namespace avx512_vnni {
extern const Kernels kTable;
extern const TileKernels kPanelKernels;  ///< int8 and int16
}  // namespace avx512_vnni

}  // namespace meshseek::cpu

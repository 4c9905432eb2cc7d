/// The tables that the per-ISA files define.
#pragma once
#include "ops/cpu/kernels.hpp"

namespace meshseek::cpu {

namespace scalar {
extern const Kernels kTable;  ///< what the compiler makes of the loops for any x86-64
}
namespace avx2 {
extern const Kernels kTable;
}
namespace avx2_vnni {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
namespace avx512_vnni {
extern const Kernels kTable;
extern const TileKernels kPanelKernels;  ///< int8 alone
}  // namespace avx512_vnni

}  // namespace meshseek::cpu

/// The tables of gemv.hpp that the per-ISA files define.
#pragma once
#include "ops/cpu/gemv.hpp"

namespace meshseek::cpu {

namespace avx2 {
extern const StreamKernels kStreamTable;
}
namespace avx512 {
extern const StreamKernels kStreamTable;
}
namespace avx512_vnni {
extern const StreamKernels kStreamTable;  ///< int8 products only; they need VBMI too
}

}  // namespace meshseek::cpu

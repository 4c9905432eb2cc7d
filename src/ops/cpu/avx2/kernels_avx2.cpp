#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu::avx2 {

#include "ops/cpu/loops.inc"

const Kernels kTable = {"avx2", dot_rows, dot_rows_int8, axpy};

}  // namespace meshseek::cpu::avx2

#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu::avx512 {

#include "ops/cpu/loops.inc"

const Kernels kTable = {"avx512", dot_rows, dot_rows_int8, axpy};

}  // namespace meshseek::cpu::avx512

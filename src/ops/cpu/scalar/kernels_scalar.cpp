#include "ops/cpu/kernels_tables.hpp"

namespace meshseek::cpu::scalar {

#include "ops/cpu/loops.inc"

const Kernels kTable = {"scalar", dot_rows, dot_rows_int8, axpy};

}  // namespace meshseek::cpu::scalar

/// The inner loops that decide the speed, one table per instruction set. Arguments are plain pointers and sizes.
#pragma once
#include <cstdint>

namespace meshseek::cpu {

struct Kernels {
  const char* isa;
  /// out[r] = sum over k of x[k] * w[r * stride + k] for num_rows rows. Sixteen partial sums per row in a fixed order: the result for
  /// a row depends on nothing but its own values. k is a multiple of 16 (pad with zeros).
  void (*dot_rows)(const float* x, const float* w, std::int64_t stride, std::int64_t k, std::int64_t num_rows, float* out);
  /// The same for int8 activations and magnitudes: per block of 16 an exact int32 sum times x_scale[block] * w_scale[block].
  void (*dot_rows_int8)(const std::int8_t* x, const float* x_scale, const std::int8_t* w, const float* w_scale, std::int64_t k, std::int64_t num_rows,
                        float* out);
  /// y[i] += a * x[i]
  void (*axpy)(float a, const float* x, std::int64_t count, float* y);
};

/// The table of the best instruction set of this machine, or of MESHSEEK_FORCE_ISA=scalar|avx2|avx512. Chosen once.
/// \throws Error when the forced one is unknown or not supported here
const Kernels& kernels();
/// One table by name; null when this machine lacks it. For tests.
const Kernels* find_kernels(const char* isa);

}  // namespace meshseek::cpu

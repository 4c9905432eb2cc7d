/// The inner loops that decide the speed, one table per instruction set. Arguments are plain pointers and sizes.
#pragma once
#include <cstdint>

namespace meshseek::cpu {

/// Values that share one scale along k, and the rows that the int8 loop computes at once.
inline constexpr std::int64_t kInt8Group = 16;

/// out[t * out_stride + r] = sum over i < k of x[t * x_stride + i] * w[r * w_stride + i]. k is a multiple of 16 (pad with zeros).
struct DotBlock {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  std::int64_t num_x = 0;
  const float* w = nullptr;
  std::int64_t w_stride = 0;
  std::int64_t num_w = 0;
  std::int64_t k = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

/// The same for int8 activations and block magnitudes. Both are stored as int16, because the instructions multiply pairs of those.
struct Int8Block {
  const std::int16_t* x = nullptr;  ///< [num_x, x_stride], values -127..127
  const float* x_scale = nullptr;   ///< one per 16 values of x
  std::int64_t x_stride = 0;
  std::int64_t num_x = 0;
  const std::int16_t* w = nullptr;  ///< [row group][block][8 pairs][16 rows][2], values -127..127
  const float* w_scale = nullptr;   ///< [row group][block][16 rows]
  std::int64_t num_row_groups = 0;  ///< groups of 16 output rows
  std::int64_t num_blocks = 0;      ///< k / 16
  float* out = nullptr;             ///< [num_x, out_stride], 16 * num_row_groups values each
  std::int64_t out_stride = 0;
};

/// out[t * out_stride + c] = sum over s < num_rows of weights[t * weights_stride + s] * rows[s * row_stride + c], in the order of s.
/// cols is a multiple of 16 (pad the rows of `rows` and `out`).
struct WeightedSum {
  const float* weights = nullptr;
  std::int64_t weights_stride = 0;
  std::int64_t num_x = 0;
  const float* rows = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t num_rows = 0;
  std::int64_t cols = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

/// Multiplications (and additions) of one round of multiply_add.
inline constexpr std::int64_t kFmaRound = 12 * 16;

/// Every result depends on its own row of x and of w alone: not on how many rows are computed, nor on where a row lies among them.
struct Kernels {
  const char* isa = nullptr;
  /// Sixteen partial sums for each result, in float32, added up in a fixed order.
  void (*dot_block)(const DotBlock& block) = nullptr;
  /// For each block of 16 an exact int32 sum, times x_scale * w_scale; these are added up in float32 in the order of k.
  void (*dot_block_int8)(const Int8Block& block) = nullptr;
  void (*weighted_sum)(const WeightedSum& sum) = nullptr;
  /// values[i] = exp(values[i] * factor - top), within 2 units in the last place, for exponents up to 88; below 2^-126: 0. NaN stays NaN.
  /// \return their sum
  float (*exp_row)(float* values, std::int64_t count, float factor, float top) = nullptr;
  /// `rounds` times kFmaRound multiplications and as many additions in registers: what the machine can do at most. \return something of the result
  float (*multiply_add)(std::int64_t rounds) = nullptr;
  /// y[i] += a * x[i]
  void (*axpy)(float a, const float* x, std::int64_t count, float* y) = nullptr;
  /// out[i] = the float32 whose upper half is bits[i]
  void (*widen_bf16)(const std::uint16_t* bits, std::int64_t count, float* out) = nullptr;
};

/// The table of the best instruction set of this machine, or of MESHSEEK_FORCE_ISA=scalar|avx2|avx512. Chosen once.
/// \throws Error when the forced one is unknown or not supported here
const Kernels& kernels();
/// The table for a value of MESHSEEK_FORCE_ISA; null: the best one. \throws Error as above
const Kernels& choose_kernels(const char* forced_isa);
/// One table by name; null when this machine lacks it. For tests.
const Kernels* find_kernels(const char* isa);

}  // namespace meshseek::cpu

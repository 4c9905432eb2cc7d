/// Activations prepared once per operator call, in the form that a math fidelity multiplies.
#pragma once
#include <cstdint>
#include <memory>

#include "mesh/device.hpp"
#include "ops/common_config.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"

namespace meshseek::cpu {

/// Writes row `row` of `rows`. \param values of `rows.padded_cols()`, zeros where the row ends before
void quantise_row(const float* values, std::int64_t row, const Int8Rows& rows);

/// Rows of activations, padded with zeros to a multiple of 32: float32, float32 rounded to bf16, or int8 codes with one scale per 16 values: those
/// that the tensor has already, where it has.
class Activations {
 public:
  /// \param with_floats LoFi: whether floats() is asked for too, the values that the codes stand for
  Activations(const Tensor& x, std::int64_t cols, MathFidelity fidelity, Device& device, bool with_floats = true);

  const float* floats(std::int64_t row) const { return floats_.get() + row * padded_cols_; }
  /// LoFi only. A correction is the sum of 16 codes times -Kernels::int8_offset.
  const Int8Rows& int8_rows() const { return int8_rows_; }
  std::int64_t padded_cols() const { return padded_cols_; }
  std::int64_t num_rows() const { return num_rows_; }

 private:
  std::int64_t padded_cols_;
  std::int64_t num_rows_;
  std::shared_ptr<float> floats_;
  Int8Rows int8_rows_;
};

}  // namespace meshseek::cpu

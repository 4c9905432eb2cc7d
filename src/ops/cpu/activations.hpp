/// Activations prepared once per operator call, in the form that a math fidelity multiplies.
#pragma once
#include <cstdint>
#include <memory>

#include "mesh/device.hpp"
#include "ops/common_config.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"

namespace meshseek::cpu {

/// Rows of activations, padded with zeros to a multiple of 32: float32, float32 rounded to bf16, or int8 codes with one scale per 16 values.
class Activations {
 public:
  /// \param with_floats LoFi: whether floats() is asked for too, the values that the codes stand for
  Activations(const Tensor& x, std::int64_t cols, MathFidelity fidelity, Device& device, bool with_floats = true);

  const float* floats(std::int64_t row) const { return floats_.get() + row * padded_cols_; }
  /// LoFi only: -127..127; and for each 16 of them the scale, and their sum times -Kernels::int8_offset.
  const std::int8_t* bytes(std::int64_t row) const { return bytes_.get() + row * padded_cols_; }
  const float* scales(std::int64_t row) const { return scales_.get() + row * (padded_cols_ / kInt8Group); }
  const std::int32_t* corrections(std::int64_t row) const { return corrections_.get() + row * (padded_cols_ / kInt8Group); }
  std::int64_t padded_cols() const { return padded_cols_; }
  std::int64_t num_rows() const { return num_rows_; }

 private:
  void quantise_row(std::int64_t row, float* values, bool with_floats);

  std::int64_t padded_cols_;
  std::int64_t num_rows_;
  std::shared_ptr<float> floats_;
  std::shared_ptr<std::int8_t> bytes_;
  std::shared_ptr<float> scales_;
  std::shared_ptr<std::int32_t> corrections_;
};

}  // namespace meshseek::cpu

/// Activations prepared once per operator call, in the form that a math fidelity multiplies.
#pragma once
#include <cstdint>
#include <vector>

#include "base/thread_team.hpp"
#include "ops/common_config.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/rows.hpp"

namespace meshseek::cpu {

/// Rows of activations, padded with zeros to a multiple of 32: float32, float32 rounded to bf16, or int8 codes (as int16, see
/// Int8Block) with one scale per 16 values. The floats are what is multiplied, whatever the form.
class Activations {
 public:
  Activations(const Tensor& x, std::int64_t cols, MathFidelity fidelity, ThreadTeam& team);

  const float* floats(std::int64_t row) const { return floats_.data() + row * padded_cols_; }
  const std::int16_t* codes(std::int64_t row) const { return codes_.data() + row * padded_cols_; }
  /// The codes once more, for the kernels of gemv.hpp; there are some only where few rows are in work.
  const std::int8_t* bytes(std::int64_t row) const { return bytes_.data() + row * padded_cols_; }
  const float* scales(std::int64_t row) const { return scales_.data() + row * (padded_cols_ / 16); }
  std::int64_t padded_cols() const { return padded_cols_; }
  std::int64_t num_rows() const { return num_rows_; }

 private:
  std::int64_t padded_cols_;
  std::int64_t num_rows_;
  std::vector<float> floats_;
  std::vector<std::int16_t> codes_;
  std::vector<std::int8_t> bytes_;
  std::vector<float> scales_;
};

}  // namespace meshseek::cpu

#include "ops/cpu/activations.hpp"

#include <algorithm>

#include "ops/cpu/aligned_buffer.hpp"
#include "ops/memory.hpp"

namespace meshseek::cpu {

void quantise_row(const float* values, std::int64_t row, const Int8Rows& rows) {
  std::int32_t* corrections = rows.corrections(row);
  kernels().quantise(values, rows.padded_cols(), rows.codes(row), rows.scales(row), corrections);
  for (std::int64_t group = 0; group < rows.groups_per_row(); ++group) corrections[group] *= -kernels().int8_offset;
}

Activations::Activations(const Tensor& x, std::int64_t cols, MathFidelity fidelity, Device& device, bool with_floats)
    : padded_cols_(round_up(cols, kTileSize)), num_rows_(cols == 0 ? 0 : x.volume() / cols) {
  const bool quantised = fidelity == MathFidelity::LoFi;
  if (quantised && !with_floats && x.int8_rows().padded_cols() == padded_cols_) {
    int8_rows_ = x.int8_rows();
    return;
  }
  const RowReader reader(x, cols);
  if (with_floats || !quantised) floats_ = make_scratch<float>(static_cast<std::size_t>(num_rows_ * padded_cols_), device);
  if (quantised) int8_rows_ = make_int8_rows(num_rows_, cols, device);
  device.team().parallel_for(static_cast<std::size_t>(num_rows_), 16, [&](std::size_t begin, std::size_t end) {
    AlignedBuffer<float> line(floats_ == nullptr ? static_cast<std::size_t>(padded_cols_) : 0, device.scratch());
    for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
      float* values = floats_ == nullptr ? line.data() : floats_.get() + row * padded_cols_;
      reader.read(row, values);
      std::fill(values + cols, values + padded_cols_, 0.0F);
      if (fidelity == MathFidelity::HiFi2) kernels().round_bf16(values, cols);
      if (!quantised) continue;
      quantise_row(values, row, int8_rows_);
      for (std::int64_t idx = 0; with_floats && idx < padded_cols_; ++idx)
        values[idx] = static_cast<float>(int8_rows_.codes(row)[idx]) * int8_rows_.scales(row)[idx / kInt8Group];
    }
  });
}

}  // namespace meshseek::cpu

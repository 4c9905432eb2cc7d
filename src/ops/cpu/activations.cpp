#include "ops/cpu/activations.hpp"

#include <algorithm>

#include "ops/cpu/aligned_buffer.hpp"
#include "ops/memory.hpp"

namespace meshseek::cpu {

Activations::Activations(const Tensor& x, std::int64_t cols, MathFidelity fidelity, Device& device, bool with_floats)
    : padded_cols_(round_up(cols, kTileSize)), num_rows_(cols == 0 ? 0 : x.volume() / cols) {
  const RowReader reader(x, cols);
  const bool quantised = fidelity == MathFidelity::LoFi;
  const auto size = static_cast<std::size_t>(num_rows_ * padded_cols_);
  if (with_floats || !quantised) floats_ = make_scratch<float>(size, device);
  if (quantised) {
    bytes_ = make_scratch<std::int8_t>(size, device);
    scales_ = make_scratch<float>(size / kInt8Group, device);
    corrections_ = make_scratch<std::int32_t>(size / kInt8Group, device);
  }
  device.team().parallel_for(static_cast<std::size_t>(num_rows_), 16, [&](std::size_t begin, std::size_t end) {
    AlignedBuffer<float> line(floats_ == nullptr ? static_cast<std::size_t>(padded_cols_) : 0, device.scratch());
    for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
      float* values = floats_ == nullptr ? line.data() : floats_.get() + row * padded_cols_;
      reader.read(row, values);
      std::fill(values + cols, values + padded_cols_, 0.0F);
      if (fidelity == MathFidelity::HiFi2) kernels().round_bf16(values, cols);
      if (quantised) quantise_row(row, values, with_floats);
    }
  });
}

void Activations::quantise_row(std::int64_t row, float* values, bool with_floats) {
  const std::int64_t num_blocks = padded_cols_ / kInt8Group;
  std::int8_t* bytes = bytes_.get() + row * padded_cols_;
  float* scales = scales_.get() + row * num_blocks;
  std::int32_t* corrections = corrections_.get() + row * num_blocks;
  kernels().quantise(values, padded_cols_, bytes, scales, corrections);
  for (std::int64_t block = 0; block < num_blocks; ++block) corrections[block] *= -kernels().int8_offset;
  for (std::int64_t idx = 0; with_floats && idx < padded_cols_; ++idx)
    values[idx] = static_cast<float>(bytes[idx]) * scales[idx / kInt8Group];
}

}  // namespace meshseek::cpu

#include "ops/cpu/activations.hpp"

#include <algorithm>
#include <cmath>

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kBlock = 16;

/// One scale per 16 values: amax / 127; codes rounded to nearest even. A block of zeros has scale 0. `values` become what the codes stand for.
void quantise_row(float* values, std::int64_t count, std::int8_t* codes, float* scales) {
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    float amax = 0.0F;
    for (std::int64_t idx = 0; idx < kBlock; ++idx) amax = std::max(amax, std::abs(values[begin + idx]));
    const float scale = amax / 127.0F;
    scales[begin / kBlock] = scale;
    const float inverse = scale > 0.0F ? 1.0F / scale : 0.0F;
    for (std::int64_t idx = 0; idx < kBlock; ++idx) {
      codes[begin + idx] = static_cast<std::int8_t>(std::nearbyint(std::clamp(values[begin + idx] * inverse, -127.0F, 127.0F)));
      values[begin + idx] = static_cast<float>(codes[begin + idx]) * scale;
    }
  }
}

}  // namespace

Activations::Activations(const Tensor& x, std::int64_t cols, MathFidelity fidelity, ThreadTeam& team)
    : padded_cols_(round_up(cols, kTileSize)), num_rows_(cols == 0 ? 0 : x.volume() / cols) {
  const RowReader reader(x, cols);
  floats_.assign(static_cast<std::size_t>(num_rows_ * padded_cols_), 0.0F);
  if (fidelity == MathFidelity::LoFi) {
    codes_.resize(floats_.size());
    scales_.resize(floats_.size() / kBlock);
  }
  team.parallel_for(static_cast<std::size_t>(num_rows_), 16, [&](std::size_t begin, std::size_t end) {
    for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
      float* line = floats_.data() + row * padded_cols_;
      reader.read(row, line);
      if (fidelity == MathFidelity::HiFi2) {
        for (std::int64_t col = 0; col < cols; ++col) line[col] = round_to_bf16(line[col]);
      }
      if (fidelity == MathFidelity::LoFi) quantise_row(line, padded_cols_, codes_.data() + row * padded_cols_, scales_.data() + row * padded_cols_ / kBlock);
    }
  });
}

}  // namespace meshseek::cpu

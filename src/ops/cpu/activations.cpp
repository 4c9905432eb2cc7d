#include "ops/cpu/activations.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace meshseek::cpu {
namespace {

/// One scale per 16 values: amax / 127; codes rounded to nearest even. A block of zeros has scale 0; a block that holds NaN or infinity has scale NaN,
/// which makes every product with it NaN. `values` become what the codes stand for.
void quantise_block(float* values, std::int16_t* codes, float& scale) {
  float amax = 0.0F;
  bool finite = true;
  for (std::int64_t idx = 0; idx < kInt8Group; ++idx) {
    amax = std::max(amax, std::abs(values[idx]));
    finite = finite && std::isfinite(values[idx]);
  }
  scale = finite ? amax / 127.0F : std::numeric_limits<float>::quiet_NaN();
  for (std::int64_t idx = 0; idx < kInt8Group; ++idx) {
    // Divides: the reciprocal of a denormal scale would be infinite.
    const float code = scale > 0.0F ? std::nearbyint(std::clamp(values[idx] / scale, -127.0F, 127.0F)) : 0.0F;
    codes[idx] = static_cast<std::int16_t>(code);
    values[idx] = code * scale;
  }
}

}  // namespace

Activations::Activations(const Tensor& x, std::int64_t cols, MathFidelity fidelity, ThreadTeam& team)
    : padded_cols_(round_up(cols, kTileSize)), num_rows_(cols == 0 ? 0 : x.volume() / cols) {
  const RowReader reader(x, cols);
  floats_.assign(static_cast<std::size_t>(num_rows_ * padded_cols_), 0.0F);
  if (fidelity == MathFidelity::LoFi) {
    codes_.resize(floats_.size());
    scales_.resize(floats_.size() / kInt8Group);
  }
  team.parallel_for(static_cast<std::size_t>(num_rows_), 16, [&](std::size_t begin, std::size_t end) {
    for (auto row = static_cast<std::int64_t>(begin); row < static_cast<std::int64_t>(end); ++row) {
      float* line = floats_.data() + row * padded_cols_;
      reader.read(row, line);
      if (fidelity == MathFidelity::HiFi2) {
        for (std::int64_t col = 0; col < cols; ++col) line[col] = round_to_bf16(line[col]);
      }
      for (std::int64_t col = 0; col < padded_cols_ && fidelity == MathFidelity::LoFi; col += kInt8Group) {
        const std::int64_t first = row * padded_cols_ + col;
        quantise_block(line + col, codes_.data() + first, scales_[static_cast<std::size_t>(first / kInt8Group)]);
      }
    }
  });
  bytes_.assign(codes_.begin(), codes_.end());
}

}  // namespace meshseek::cpu

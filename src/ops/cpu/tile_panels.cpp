#include "ops/cpu/tile_panels.hpp"

#include <algorithm>

#include "ops/cpu/kernels.hpp"
#include "ops/memory.hpp"

namespace meshseek::cpu {

std::int64_t fewest_tile_rows(std::int64_t tile_rows, MathFidelity fidelity, bool transpose_b) {
  const TileKernels* tiles = kernels().tiles;
  if (tiles == nullptr || !transpose_b || fidelity == MathFidelity::HiFi4) return 0;
  return fidelity == MathFidelity::LoFi || tiles->multiply_bf16 != nullptr ? tile_rows : 0;
}

TilePanels::TilePanels(const Tensor& x, std::int64_t cols, MathFidelity fidelity, std::span<const RowGroup> groups,
                       std::int64_t fewest_rows, Device& device)
    : is_int8_(fidelity == MathFidelity::LoFi),
      num_steps_(ceil_div(cols, is_int8_ ? kInt8Step : kBf16Step)),
      num_chunks_(ceil_div(cols, kTileChunk)) {
  const std::vector<Panel> panels = place(groups, fewest_rows);
  values_ = make_scratch<std::uint8_t>(static_cast<std::size_t>(num_tiles_ * num_steps_ * kTileBytes), device);
  if (is_int8_) scales_ = make_scratch<float>(static_cast<std::size_t>(num_tiles_ * num_chunks_ * kPanelRows), device);
  const RowReader reader(x, cols);
  device.team().parallel_for(panels.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t idx = begin; idx < end; ++idx) fill(panels[idx], reader, cols);
  });
}

/// Groups that are the same rows of x (heads of a stack that share them) are packed once.
std::vector<TilePanels::Panel> TilePanels::place(std::span<const RowGroup> groups, std::int64_t fewest_rows) {
  std::vector<Panel> panels;
  for (std::size_t idx = 0; idx < groups.size(); ++idx) {
    const RowGroup& group = groups[idx];
    counts_.push_back(group.count);
    first_tiles_.push_back(-1);
    if (group.count == 0 || group.count < fewest_rows) continue;
    const RowGroup& before = groups[idx == 0 ? 0 : idx - 1];
    if (idx > 0 && first_tiles_[idx - 1] >= 0 && before.first_x == group.first_x && before.step_x == group.step_x &&
        before.count == group.count) {
      first_tiles_[idx] = first_tiles_[idx - 1];
      continue;
    }
    first_tiles_[idx] = num_tiles_;
    for (std::int64_t row = 0; row < group.count; row += kPanelRows) {
      panels.push_back({.group = &group, .row = row, .first_tile = num_tiles_});
      num_tiles_ += std::min<std::int64_t>(2, ceil_div(group.count - row, kTileRows));
    }
  }
  return panels;
}

void TilePanels::fill(const Panel& panel, const RowReader& reader, std::int64_t cols) const {
  const RowGroup& group = *panel.group;
  const std::int64_t num_rows = std::min(kPanelRows, group.count - panel.row);
  const std::int64_t num_tiles = ceil_div(num_rows, kTileRows);
  const std::int64_t step_values = is_int8_ ? kInt8Step : kBf16Step;
  AlignedBuffer<float> line(static_cast<std::size_t>(kTileChunk));
  AlignedBuffer<std::uint8_t> rows(static_cast<std::size_t>(kPanelRows * kTileChunk * 2));
  const std::int64_t row_bytes = is_int8_ ? kTileChunk : 2 * kTileChunk;
  for (std::int64_t chunk = 0; chunk < num_chunks_; ++chunk) {
    const std::int64_t first = chunk * kTileChunk;
    const std::int64_t count = std::min(kTileChunk, cols - first);
    const std::int64_t num_steps = ceil_div(count, step_values);
    std::fill(line.data() + count, line.data() + num_steps * step_values, 0.0F);
    for (std::int64_t row = 0; row < num_rows; ++row) {
      std::uint8_t* out = rows.data() + row * row_bytes;
      reader.read_at(group.first_x + (panel.row + row) * group.step_x, first, line.data(), count);
      if (is_int8_) {
        float* scales = scales_.get() + (panel.first_tile * num_chunks_ + chunk) * kPanelRows;
        scales[row] = kernels().tiles->quantise(line.data(), num_steps * step_values, reinterpret_cast<std::int8_t*>(out));
      } else {
        kernels().narrow_bf16(line.data(), num_steps * step_values, reinterpret_cast<std::uint16_t*>(out));
      }
    }
    std::uint8_t* packed = values_.get() + (panel.first_tile * num_steps_ + first / step_values * num_tiles) * kTileBytes;
    kernels().tiles->pack({.rows = rows.data(), .row_bytes = row_bytes, .num_rows = num_rows, .num_steps = num_steps, .out = packed});
  }
}

void TilePanels::put(TileProduct& product, std::int64_t matrix_idx, std::int64_t row, std::int64_t k) const {
  const auto group = static_cast<std::size_t>(matrix_idx);
  const std::int64_t first_tile = first_tiles_[group] + row / kTileRows;
  product.num_x_tiles = std::min<std::int64_t>(2, ceil_div(counts_[group] - row, kTileRows));
  const std::int64_t first_step = k / (is_int8_ ? kInt8Step : kBf16Step);
  product.x = values_.get() + (first_tile * num_steps_ + first_step * product.num_x_tiles) * kTileBytes;
  if (is_int8_) product.x_scales = scales_.get() + (first_tile * num_chunks_ + k / kTileChunk) * kPanelRows;
}

TileSlab::TileSlab(const WeightMatrix& weight, bool is_int8, std::int64_t outputs, std::int64_t k, std::pmr::memory_resource& memory)
    : weight_(&weight),
      is_int8_(is_int8),
      values_(static_cast<std::size_t>(outputs * k * (is_int8 ? 1 : 2)), memory),
      scales_(is_int8 ? static_cast<std::size_t>(outputs * (k / kTileChunk)) : 0, memory) {}

void TileSlab::decode(std::int64_t matrix_idx, std::int64_t output, std::int64_t count, WeightMatrix::Columns k) {
  num_pairs_ = ceil_div(count, kPanelRows);
  num_steps_ = ceil_div(k.count, is_int8_ ? kInt8Step : kBf16Step);
  if (is_int8_)
    weight_->decode_int8_tiles(matrix_idx, output, count, k, values_.data(), scales_.data());
  else
    weight_->decode_bf16_tiles(matrix_idx, output, count, k, values_.data());
}

void TileSlab::put(TileProduct& product) const {
  product.w = values_.data();
  product.w_scales = scales_.data();
  product.num_pairs = num_pairs_;
  product.num_steps = num_steps_;
}

}  // namespace meshseek::cpu

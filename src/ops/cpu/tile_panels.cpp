#include "ops/cpu/tile_panels.hpp"

#include <algorithm>

#include "ops/cpu/kernels.hpp"
#include "ops/memory.hpp"
#include "tensor/block_float.hpp"

namespace meshseek::cpu {

std::optional<PanelForm> panel_form(MathFidelity fidelity, bool transpose_b, DataType weight_dtype) {
  const TileKernels* tiles = kernels().tiles;
  if (tiles == nullptr || !transpose_b || fidelity == MathFidelity::HiFi4) return std::nullopt;
  if (fidelity == MathFidelity::LoFi && tiles->multiply_int8 != nullptr) return PanelForm::int8;
  if (tiles->multiply_bf16 != nullptr) return PanelForm::bf16;
  if (is_block_float(weight_dtype)) return PanelForm::int16;
  return std::nullopt;
}

TilePanels::TilePanels(const Tensor& x, std::int64_t cols, PanelForm form, std::span<const RowGroup> groups, std::int64_t fewest_rows,
                       Device& device)
    : form_(form), num_steps_(steps_of(form, cols)), num_scales_(form == PanelForm::bf16 ? 0 : ceil_div(cols, scale_chunk(form))) {
  const std::vector<Panel> panels = place(groups, fewest_rows);
  values_ = make_scratch<std::uint8_t>(static_cast<std::size_t>(num_tiles_ * num_steps_ * kTileBytes), device);
  scales_ = make_scratch<float>(static_cast<std::size_t>(num_tiles_ * num_scales_ * kPanelRows), device);
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

/// Some values of a row, padded to whole steps. \param count at most a kTileChunk  \param scales of the row, kPanelRows apart
void TilePanels::code(const float* values, std::int64_t count, std::uint8_t* out, float* scales) const {
  if (form_ == PanelForm::bf16) return kernels().narrow_bf16(values, count, reinterpret_cast<std::uint16_t*>(out));
  for (std::int64_t idx = 0; idx < count; idx += scale_chunk(form_), scales += kPanelRows) {
    const std::int64_t size = std::min(scale_chunk(form_), count - idx);
    if (form_ == PanelForm::int8)
      *scales = kernels().tiles->quantise(values + idx, size, reinterpret_cast<std::int8_t*>(out) + idx);
    else
      *scales = kernels().tiles->quantise_int16(values + idx, size, reinterpret_cast<std::int16_t*>(out) + idx);
  }
}

bool TilePanels::is_packed(std::int64_t num_rows) const { return form_ == PanelForm::bf16 || num_rows > kernels().tiles->few_rows; }

void TilePanels::fill(const Panel& panel, const RowReader& reader, std::int64_t cols) const {
  const RowGroup& group = *panel.group;
  const std::int64_t num_rows = std::min(kPanelRows, group.count - panel.row);
  const std::int64_t num_tiles = ceil_div(num_rows, kTileRows);
  const std::int64_t row_bytes = kTileChunk * value_bytes(form_);
  const bool packed = is_packed(num_rows);
  std::uint8_t* panel_values = values_.get() + panel.first_tile * num_steps_ * kTileBytes;
  AlignedBuffer<float> line(static_cast<std::size_t>(kTileChunk));
  AlignedBuffer<std::uint8_t> rows(packed ? static_cast<std::size_t>(kPanelRows * row_bytes) : 0);
  for (std::int64_t first = 0; first < cols; first += kTileChunk) {
    const std::int64_t count = std::min(kTileChunk, cols - first);
    const std::int64_t num_steps = steps_of(form_, count);
    const std::int64_t padded = num_steps * 64 / value_bytes(form_);
    std::fill(line.data() + count, line.data() + padded, 0.0F);
    float* scales = scales_.get() + (panel.first_tile * num_scales_ + first / scale_chunk(form_)) * kPanelRows;
    for (std::int64_t row = 0; row < num_rows; ++row) {
      reader.read_at(group.first_x + (panel.row + row) * group.step_x, first, line.data(), count);
      std::uint8_t* out = packed ? rows.data() + row * row_bytes : panel_values + (row * num_steps_ + steps_of(form_, first)) * 64;
      code(line.data(), padded, out, scales + row);
    }
    if (!packed) continue;
    kernels().tiles->pack({.rows = rows.data(),
                           .row_bytes = row_bytes,
                           .num_rows = num_rows,
                           .num_steps = num_steps,
                           .out = panel_values + steps_of(form_, first) * num_tiles * kTileBytes});
  }
}

void TilePanels::put(TileProduct& product, std::int64_t matrix_idx, std::int64_t row, std::int64_t k) const {
  const auto group = static_cast<std::size_t>(matrix_idx);
  const std::int64_t first_tile = first_tiles_[group] + row / kTileRows;
  const std::int64_t num_rows = std::min(kPanelRows, counts_[group] - row);
  const bool packed = is_packed(num_rows);
  product.num_x_tiles = ceil_div(num_rows, kTileRows);
  product.num_rows = packed ? 0 : num_rows;
  product.x_row_bytes = num_steps_ * 64;
  product.x = values_.get() + first_tile * num_steps_ * kTileBytes + steps_of(form_, k) * (packed ? product.num_x_tiles * kTileBytes : 64);
  product.x_scales = scales_.get() + (first_tile * num_scales_ + k / scale_chunk(form_)) * kPanelRows;
}

TileSlab::TileSlab(const WeightMatrix& weight, PanelForm form, std::int64_t outputs, std::int64_t k, std::pmr::memory_resource& memory)
    : weight_(&weight),
      form_(form),
      values_(static_cast<std::size_t>(outputs * k * value_bytes(form)), memory),
      scales_(form == PanelForm::bf16 ? 0 : static_cast<std::size_t>(outputs * (k / scale_chunk(form))), memory) {}

void TileSlab::decode(std::int64_t matrix_idx, std::int64_t output, std::int64_t count, WeightMatrix::Columns k) {
  num_pairs_ = ceil_div(count, kPanelRows);
  num_steps_ = steps_of(form_, k.count);
  if (form_ == PanelForm::bf16)
    weight_->decode_bf16_tiles(matrix_idx, output, count, k, values_.data());
  else
    weight_->decode_integer_tiles(form_, matrix_idx, output, count, k, values_.data(), scales_.data());
}

void TileSlab::put(TileProduct& product) const {
  product.w = values_.data();
  product.w_scales = scales_.data();
  product.num_pairs = num_pairs_;
  product.num_steps = num_steps_;
}

}  // namespace meshseek::cpu

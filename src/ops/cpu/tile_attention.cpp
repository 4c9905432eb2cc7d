#include "ops/cpu/tile_attention.hpp"

#include <algorithm>
#include <limits>

#include "ops/cpu/kernels.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

bool is_finite(const std::uint16_t* values, std::int64_t count) {
  constexpr std::uint16_t kExponent = 0x7F80;
  bool finite = true;
  for (std::int64_t idx = 0; idx < count; ++idx) finite &= (values[idx] & kExponent) != kExponent;
  return finite;
}

}  // namespace

bool attends_on_tiles(MathFidelity fidelity) {
  return fidelity != MathFidelity::HiFi4 && kernels().tiles != nullptr && kernels().tiles->score != nullptr;
}

FlashTiles::FlashTiles(std::int64_t max_rows, std::int64_t key_width, std::int64_t value_width, float scale,
                       std::pmr::memory_resource& memory)
    : memory_(&memory),
      query_width_(key_width),
      key_steps_(ceil_div(key_width, kBf16Step)),
      value_width_(round_up(value_width, kTileTokens)),
      weights_(max_rows, kBlock, scale, memory),
      queries_(static_cast<std::size_t>(round_up(max_rows, kTileRows) * key_steps_ * 64), memory),
      weight_tiles_(static_cast<std::size_t>(round_up(max_rows, kTileRows) * 2 * 64), memory),
      values_(static_cast<std::size_t>(kBlock * value_width_), memory) {}

void FlashTiles::set_queries(const float* queries, std::int64_t stride, std::span<const std::int64_t> visible) {
  weights_.set_visible(visible);
  AlignedBuffer<std::uint16_t> rows(static_cast<std::size_t>(kPanelRows * key_width()), *memory_);
  std::fill_n(rows.data(), kPanelRows * key_width(), std::uint16_t{0});
  for (std::int64_t first = 0; first < weights_.num_rows(); first += kPanelRows) {
    const std::int64_t count = std::min(kPanelRows, weights_.num_rows() - first);
    for (std::int64_t row = 0; row < count; ++row)
      kernels().narrow_bf16(queries + (first + row) * stride, query_width_, rows.data() + row * key_width());
    kernels().tiles->pack({.rows = rows.data(),
                           .row_bytes = key_width() * 2,
                           .num_rows = count,
                           .num_steps = key_steps_,
                           .out = queries_.data() + first * key_steps_ * 64});
  }
}

void FlashTiles::add(const TokenBlock& block, RowSums& rows) {
  const BlockWeights::Seen seen = weights_.look(block.first_token, block.count);
  if (seen.most == 0) return;
  const std::int64_t num_tiles = weights_.lanes() / kTileRows;
  const std::size_t half = block.next.size() / 2;
  kernels().tiles->score({.keys = block.keys,
                          .key_stride = block.key_stride,
                          .num_steps = key_steps_,
                          .queries = queries_.data(),
                          .num_tiles = num_tiles,
                          .scores = weights_.scores(),
                          .next = block.next.data(),
                          .next_bytes = static_cast<std::int64_t>(half)});
  weights_.weigh(block.count, rows);
  std::fill(weights_.scores() + block.count * weights_.lanes(), weights_.scores() + kBlock * weights_.lanes(), 0.0F);
  const std::uint16_t* values = seen.least < block.count ? without_unseen(block, seen.least, rows) : block.values;
  kernels().tiles->add_values({.weights = weights_.scores(),
                               .values = values,
                               .value_stride = values == block.values ? block.value_stride : value_width_,
                               .count = block.count,
                               .num_tiles = num_tiles,
                               .width = value_width_,
                               .sums = rows.values.data(),
                               .weight_tiles = weight_tiles_.data(),
                               .next = block.next.data() + half,
                               .next_bytes = static_cast<std::int64_t>(block.next.size() - half)});
}

/// The values of a block that not all rows see as a whole: zero times what is no number would reach rows that do not see it.
const std::uint16_t* FlashTiles::without_unseen(const TokenBlock& block, std::int32_t least_seen, RowSums& rows) {
  bool copied = false;
  for (std::int64_t token = least_seen; token < block.count; ++token) {
    if (is_finite(block.values + token * block.value_stride, value_width_)) continue;
    for (std::int64_t other = 0; other < block.count && !copied; ++other)
      std::copy_n(block.values + other * block.value_stride, value_width_, values_.data() + other * value_width_);
    copied = true;
    std::fill_n(values_.data() + token * value_width_, value_width_, std::uint16_t{0});
    for (std::int64_t row = 0; row < weights_.num_rows(); ++row) {
      if (weights_.seen(row) > token) rows.sums[static_cast<std::size_t>(row)] = std::numeric_limits<double>::quiet_NaN();
    }
  }
  return copied ? values_.data() : block.values;
}

void FlashTiles::finish(RowSums& rows) const {
  kernels().tiles->order_columns(rows.values.data(), static_cast<std::int64_t>(rows.tops.size()), value_width_);
}

}  // namespace meshseek::cpu

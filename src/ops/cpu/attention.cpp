#include "ops/cpu/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/kernels.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {

RowSums::RowSums(std::int64_t num_rows, std::int64_t row_width, std::pmr::memory_resource& memory)
    : width(row_width),
      tops(static_cast<std::size_t>(num_rows), &memory),
      sums(tops.size(), &memory),
      values(static_cast<std::size_t>(num_rows * width), memory) {
  clear();
}

void RowSums::clear() {
  std::fill(tops.begin(), tops.end(), -std::numeric_limits<float>::infinity());
  std::fill(sums.begin(), sums.end(), 0.0);
  std::fill_n(values.data(), static_cast<std::int64_t>(tops.size()) * width, 0.0F);
}

BlockWeights::BlockWeights(std::int64_t max_rows, std::int64_t block, float scale, std::pmr::memory_resource& memory)
    : scale_(scale),
      visible_(&memory),
      seen_(static_cast<std::size_t>(round_up(max_rows, kFaceSize)), &memory),
      tops_(seen_.size(), &memory),
      sums_(seen_.size(), &memory),
      scores_(seen_.size() * static_cast<std::size_t>(block), memory) {}

void BlockWeights::set_visible(std::span<const std::int64_t> visible) {
  visible_.assign(visible.begin(), visible.end());
  lanes_ = round_up(num_rows(), kFaceSize);
  std::fill(seen_.begin(), seen_.end(), 0);  // also for lanes without a row
}

BlockWeights::Seen BlockWeights::look(std::int64_t first_token, std::int64_t count) {
  Seen all = {.least = static_cast<std::int32_t>(count)};
  for (std::size_t row = 0; row < visible_.size(); ++row) {
    seen_[row] = static_cast<std::int32_t>(std::clamp<std::int64_t>(visible_[row] - first_token, 0, count));
    all.least = std::min(all.least, seen_[row]);
    all.most = std::max(all.most, seen_[row]);
  }
  return all;
}

void BlockWeights::weigh(std::int64_t count, RowSums& rows) {
  std::copy_n(rows.tops.begin(), visible_.size(), tops_.begin());
  kernels().weigh_scores({.scores = scores_.data(),
                          .count = count,
                          .num_rows = lanes_,
                          .seen = seen_.data(),
                          .scale = scale_,
                          .tops = tops_.data(),
                          .sums = sums_.data()});
  for (std::size_t row = 0; row < visible_.size(); ++row) {
    if (tops_[row] != rows.tops[row]) {
      const float factor = std::exp(rows.tops[row] - tops_[row]);
      float* values = rows.values.data() + static_cast<std::int64_t>(row) * rows.width;
      rows.sums[row] *= static_cast<double>(factor);
      for (std::int64_t idx = 0; idx < rows.width; ++idx) values[idx] *= factor;
      rows.tops[row] = tops_[row];
    }
    rows.sums[row] += static_cast<double>(sums_[row]);
  }
}

FlashRows::FlashRows(std::int64_t max_rows, std::int64_t key_width, std::int64_t value_width, float scale,
                     std::pmr::memory_resource& memory)
    : memory_(&memory),
      key_width_(key_width),
      value_width_(value_width),
      weights_(max_rows, kBlock, scale, memory),
      queries_(static_cast<std::size_t>(round_up(max_rows, kFaceSize) * key_width), memory) {}

void FlashRows::set_queries(const float* queries, std::int64_t stride, std::span<const std::int64_t> visible) {
  weights_.set_visible(visible);
  const std::int64_t lanes = weights_.lanes();
  for (std::int64_t col = 0; col < key_width_; ++col) {
    float* line = queries_.data() + col * lanes;
    for (std::int64_t row = 0; row < weights_.num_rows(); ++row) line[row] = queries[row * stride + col];
    std::fill(line + weights_.num_rows(), line + lanes, 0.0F);
  }
}

void FlashRows::add(const KeyBlock& block, RowSums& rows) {
  if (weights_.look(block.first_token, block.count).most == 0) return;
  multiply_keys(block);
  weights_.weigh(block.count, rows);
  // Rows that see equally many tokens go together. What a row does not see must not even be multiplied by zero: it may be NaN.
  for (std::int64_t first = 0, end = 0; first < weights_.num_rows(); first = end) {
    const std::int32_t count = weights_.seen(first);
    while (end < weights_.num_rows() && weights_.seen(end) == count) ++end;
    if (count > 0) add_values(block, first, end - first, count, rows);
  }
}

void FlashRows::add_values(const KeyBlock& block, std::int64_t first_row, std::int64_t num_rows, std::int64_t num_tokens, RowSums& rows) {
  const auto add_rows = [&](const auto* stored, const auto& kernel) {
    kernel({.weights = weights_.scores() + first_row,
            .weights_stride = 1,
            .weights_step = weights_.lanes(),
            .num_x = num_rows,
            .rows = stored,
            .row_stride = block.values.stride,
            .num_rows = num_tokens,
            .cols = value_width_,
            .out = rows.values.data() + first_row * value_width_,
            .out_stride = value_width_,
            .adds = true,
            .ahead = block.ahead});
  };
  if (block.values.halves != nullptr) return add_rows(block.values.halves, kernels().weighted_sum_bf16);
  add_rows(block.values.floats, kernels().weighted_sum);
}

/// What of the next block is no value: add_values() asks for that.
void FlashRows::ask_for_keys(const KeyBlock& block, std::int64_t token) const {
  if (block.ahead == 0) return;
  const std::uint16_t* row = block.keys.halves + token * block.keys.stride + block.ahead;
  constexpr std::int64_t kCacheLine = 64 / sizeof(std::uint16_t);
  for (std::int64_t col = value_width_; col < key_width_; col += kCacheLine) __builtin_prefetch(row + col, 0, 2);
}

/// A few keys at a time. Sums of kMostKeyValues values go on to memory: the rounding errors of k values are those of kMostKeyValues + k / kMostKeyValues
/// additions.
void FlashRows::multiply_keys(const KeyBlock& block) {
  const std::int64_t lanes = weights_.lanes();
  const std::int64_t most = lanes == kFaceSize ? kMostKeys : 12;  // what the registers take at once
  const std::int64_t num_steps = ceil_div(key_width_, kMostKeyValues) * ceil_div(block.count, most);
  std::int64_t step = 0;
  std::int64_t asked = 0;
  for (std::int64_t begin = 0; begin < key_width_; begin += kMostKeyValues) {
    for (std::int64_t token = 0; token < block.count; token += most) {
      for (++step; asked < block.count * step / num_steps; ++asked) ask_for_keys(block, asked);
      const std::int64_t at = token * block.keys.stride + begin;
      kernels().multiply_keys({.keys = block.keys.floats == nullptr ? nullptr : block.keys.floats + at,
                               .bf16_keys = block.keys.halves == nullptr ? nullptr : block.keys.halves + at,
                               .key_stride = block.keys.stride,
                               .num_keys = std::min(most, block.count - token),
                               .k = std::min(kMostKeyValues, key_width_ - begin),
                               .queries = queries_.data() + begin * lanes,
                               .num_queries = lanes,
                               .scores = weights_.scores() + token * lanes,
                               .adds = begin > 0});
    }
  }
}

}  // namespace meshseek::cpu

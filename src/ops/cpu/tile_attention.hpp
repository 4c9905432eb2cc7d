/// The passes of cpu/attention.hpp on tiles (cpu/tile_kernels.hpp): bf16 products, sums in float32.
///
/// Queries, keys and values are bf16, or rounded to it; so are the weights, after their sum was made. With d the largest error of a score, scale times
/// tile_roundings(width) * 2^-24 * sum |q k|, and n blocks of 64 tokens, a result differs from that of exact arithmetic with the same rounded inputs by at most
///   (exp(2 d) * (1 + 2^-9) * (1 + (40 + 4 n) * 2^-24) - 1) * sum of weights |v| / sum of weights
/// to first order 2 d + 2^-9: of weights that come to exp() with d, of their rounding, of sums in float32 and of rescaling.
#pragma once
#include <cstdint>
#include <span>

#include "ops/common_config.hpp"
#include "ops/cpu/attention.hpp"
#include "ops/cpu/tile_kernels.hpp"

namespace meshseek::cpu {

/// Some tokens one after the other, bf16. Keys and values may be the same rows.
struct TokenBlock {
  std::int64_t first_token = 0;
  std::int64_t count = 0;               ///< at most kTileTokens
  const std::uint16_t* keys = nullptr;  ///< [kTileTokens, key_stride]: key_width() values each; what lies beyond `count` must be readable
  std::int64_t key_stride = 0;
  const std::uint16_t* values = nullptr;  ///< [count, value_stride]: value_width() values each
  std::int64_t value_stride = 0;
  std::span<const std::byte> next = {};  ///< as KeyBlock::next
};

/// Whether attention of this fidelity goes through tiles here: all but HiFi4, where the kernels have tiles.
bool attends_on_tiles(MathFidelity fidelity);

/// As FlashRows. A token with a value that is no number makes a row that sees it NaN as a whole.
class FlashTiles {
 public:
  static constexpr std::int64_t kBlock = kTileTokens;

  FlashTiles(std::int64_t max_rows, std::int64_t key_width, std::int64_t value_width, float scale, std::pmr::memory_resource& memory);

  std::int64_t key_width() const { return key_steps_ * kBf16Step; }  ///< rounded up
  std::int64_t value_width() const { return value_width_; }          ///< rounded up to a multiple of kTileTokens
  RowSums make_sums(std::int64_t num_rows) const { return {round_up(num_rows, kTileRows), value_width_, *memory_}; }

  void set_queries(const float* queries, std::int64_t stride, std::span<const std::int64_t> visible);
  void add(const TokenBlock& block, RowSums& rows);
  /// After the last block: puts the columns of the sums into their order.
  void finish(RowSums& rows) const;

 private:
  const std::uint16_t* without_unseen(const TokenBlock& block, std::int32_t least_seen, RowSums& rows);

  std::pmr::memory_resource* memory_;
  std::int64_t query_width_;
  std::int64_t key_steps_;
  std::int64_t value_width_;
  BlockWeights weights_;
  AlignedBuffer<std::uint8_t> queries_;  ///< panels of 32 rows
  AlignedBuffer<std::uint8_t> weight_tiles_;
  AlignedBuffer<std::uint16_t> values_;  ///< [kBlock, value_width]: those of a block without what is no number
};

}  // namespace meshseek::cpu

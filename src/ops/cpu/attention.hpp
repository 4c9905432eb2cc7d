/// Softmax attention over blocks of keys and values, whose scores are never all in memory.
#pragma once
#include <cstdint>
#include <memory_resource>
#include <span>
#include <vector>

#include "ops/cpu/aligned_buffer.hpp"

namespace meshseek::cpu {

/// Rows of float32, or of bf16.
struct StoredRows {
  const float* floats = nullptr;  ///< or null:
  const std::uint16_t* halves = nullptr;
  std::int64_t stride = 0;  ///< values from one row to the next
};

/// Some tokens one after the other. Keys and values may be the same rows.
struct KeyBlock {
  std::int64_t first_token = 0;
  std::int64_t count = 0;  ///< at most FlashRows::kBlock
  StoredRows keys = {};    ///< as wide as the queries
  StoredRows values = {};  ///< as wide as the sums; bf16 in multiples of 32
  /// Where keys and values are the same rows of bf16: so many values beyond each row lies what the caller reads next, which is asked for from memory.
  std::int64_t ahead = 0;
};

/// What some query rows have gathered from the tokens so far, relative to the largest score of each: sums of exp(score - top), and of that times the
/// values.
struct RowSums {
  RowSums(std::int64_t num_rows, std::int64_t width, std::pmr::memory_resource& memory);
  /// As before the first token.
  void clear();

  std::int64_t width = 0;
  std::pmr::vector<float> tops;   ///< [R]
  std::pmr::vector<double> sums;  ///< [R]
  AlignedBuffer<float> values;    ///< [R, width]
};

/// Scores of query rows over a block of tokens that become weights of an online softmax: token by token, so that nothing is added up across a register.
class BlockWeights {
 public:
  BlockWeights(std::int64_t max_rows, std::int64_t block, float scale, std::pmr::memory_resource& memory);

  /// \param visible [R]: how many of the first tokens each row sees
  void set_visible(std::span<const std::int64_t> visible);
  /// How many of the block's tokens the rows see that see least and most of them.
  struct Seen {
    std::int32_t least = 0;
    std::int32_t most = 0;
  };
  Seen look(std::int64_t first_token, std::int64_t count);
  /// Scores become weights relative to the largest score so far; what was summed before is brought to it.
  void weigh(std::int64_t count, RowSums& rows);

  std::int64_t num_rows() const { return static_cast<std::int64_t>(visible_.size()); }
  std::int64_t lanes() const { return lanes_; }  ///< rows, rounded up to 16
  std::int32_t seen(std::int64_t row) const { return seen_[static_cast<std::size_t>(row)]; }
  float* scores() { return scores_.data(); }  ///< [block, lanes]

 private:
  float scale_;
  std::int64_t lanes_ = 0;
  std::pmr::vector<std::int64_t> visible_;
  std::pmr::vector<std::int32_t> seen_;  ///< [lanes]: tokens of the block
  std::pmr::vector<float> tops_;         ///< [lanes]
  std::pmr::vector<float> sums_;         ///< [lanes]
  AlignedBuffer<float> scores_;
};

/// Query rows that pass over blocks of tokens; each result depends on its own row and on where the blocks begin, not on the other rows.
/// Source: Dao et al., FlashAttention (online softmax). Scores are made for all rows at once, token by token: a register holds the rows, so that neither
/// scores nor their exponentials are ever added up across a register. float32; the sum of the exponentials over blocks in float64.
class FlashRows {
 public:
  static constexpr std::int64_t kBlock = 64;  ///< tokens: their keys and values stay in the second-level cache

  FlashRows(std::int64_t max_rows, std::int64_t key_width, std::int64_t value_width, float scale, std::pmr::memory_resource& memory);

  /// \param queries [R, stride], key_width values of each are used; \param visible [R]: how many of the first tokens each row sees
  void set_queries(const float* queries, std::int64_t stride, std::span<const std::int64_t> visible);
  RowSums make_sums(std::int64_t num_rows) const { return {num_rows, value_width_, *memory_}; }
  void add(const KeyBlock& block, RowSums& rows);

 private:
  void multiply_keys(const KeyBlock& block);
  void ask_for_keys(const KeyBlock& block, std::int64_t token) const;
  void add_values(const KeyBlock& block, std::int64_t first_row, std::int64_t num_rows, std::int64_t num_tokens, RowSums& rows);

  std::pmr::memory_resource* memory_;
  std::int64_t key_width_;
  std::int64_t value_width_;
  BlockWeights weights_;
  AlignedBuffer<float> queries_;  ///< [key_width, lanes]
};

}  // namespace meshseek::cpu

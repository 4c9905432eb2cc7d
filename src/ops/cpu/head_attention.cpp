#include "ops/cpu/head_attention.hpp"

#include <algorithm>
#include <memory_resource>
#include <vector>

#include "mesh/communicator.hpp"
#include "ops/cpu/aligned_buffer.hpp"
#include "ops/cpu/attention.hpp"
#include "ops/cpu/tile_attention.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

/// Queries that pass over the keys together: what is gathered of a block of tokens serves all of them.
constexpr std::int64_t kQueries = 128;

/// The parts of one head's keys and values.
struct HeadParts {
  explicit HeadParts(const HeadsProblem& problem)
      : heads(problem.k_nope->dim(1)),
        nope(problem.k_nope->dim(2)),
        rope(problem.cache->dim(1) - problem.rank),
        value(problem.v->dim(2)),
        rank(problem.rank),
        read_k(*problem.k_nope, nope),
        read_v(*problem.v, value),
        read_cache(*problem.cache, problem.cache->dim(1)) {}

  std::int64_t heads, nope, rope, value, rank;
  RowReader read_k;
  RowReader read_v;
  RowReader read_cache;
};

/// Expands keys and values as float32, a block of tokens at a time.
class FloatHead {
 public:
  FloatHead(const HeadsProblem& problem, std::pmr::memory_resource& memory)
      : parts_(problem),
        key_stride_(round_up(parts_.nope + parts_.rope, kFaceSize)),
        value_stride_(round_up(parts_.value, kFaceSize)),
        rows_(kQueries, parts_.nope + parts_.rope, value_stride_, problem.scale, memory),
        keys_(static_cast<std::size_t>(FlashRows::kBlock * key_stride_), &memory),
        values_(static_cast<std::size_t>(FlashRows::kBlock * value_stride_), &memory) {}

  FlashRows& rows() { return rows_; }
  void add(std::int64_t head_idx, std::int64_t first_token, std::int64_t count, RowSums& sums) {
    for (std::int64_t idx = 0; idx < count; ++idx) {
      const std::int64_t token = first_token + idx;
      parts_.read_k.read(token * parts_.heads + head_idx, keys_.data() + idx * key_stride_);
      parts_.read_cache.read_at(token, parts_.rank, keys_.data() + idx * key_stride_ + parts_.nope, parts_.rope);
      parts_.read_v.read(token * parts_.heads + head_idx, values_.data() + idx * value_stride_);
    }
    rows_.add({.first_token = first_token,
               .count = count,
               .keys = {.floats = keys_.data(), .stride = key_stride_},
               .values = {.floats = values_.data(), .stride = value_stride_}},
              sums);
  }
  void finish(RowSums&) const {}

 private:
  HeadParts parts_;
  std::int64_t key_stride_;
  std::int64_t value_stride_;
  FlashRows rows_;
  std::pmr::vector<float> keys_;    ///< [FlashRows::kBlock, key_stride]
  std::pmr::vector<float> values_;  ///< [FlashRows::kBlock, value_stride]
};

/// The same as bf16, for tiles.
class TileHead {
 public:
  TileHead(const HeadsProblem& problem, std::pmr::memory_resource& memory)
      : parts_(problem),
        rows_(kQueries, parts_.nope + parts_.rope, parts_.value, problem.scale, memory),
        keys_(static_cast<std::size_t>(FlashTiles::kBlock * rows_.key_width()), memory),
        values_(static_cast<std::size_t>(FlashTiles::kBlock * rows_.value_width()), memory) {
    std::fill_n(keys_.data(), FlashTiles::kBlock * rows_.key_width(), std::uint16_t{0});
    std::fill_n(values_.data(), FlashTiles::kBlock * rows_.value_width(), std::uint16_t{0});
  }

  FlashTiles& rows() { return rows_; }
  void add(std::int64_t head_idx, std::int64_t first_token, std::int64_t count, RowSums& sums) {
    for (std::int64_t idx = 0; idx < count; ++idx) {
      const std::int64_t token = first_token + idx;
      std::uint16_t* key = keys_.data() + idx * rows_.key_width();
      parts_.read_k.read_bf16(token * parts_.heads + head_idx, 0, key, parts_.nope);
      parts_.read_cache.read_bf16(token, parts_.rank, key + parts_.nope, parts_.rope);
      parts_.read_v.read_bf16(token * parts_.heads + head_idx, 0, values_.data() + idx * rows_.value_width(), parts_.value);
    }
    rows_.add({.first_token = first_token,
               .count = count,
               .keys = keys_.data(),
               .key_stride = rows_.key_width(),
               .values = values_.data(),
               .value_stride = rows_.value_width()},
              sums);
  }
  void finish(RowSums& sums) const { rows_.finish(sums); }

 private:
  HeadParts parts_;
  FlashTiles rows_;
  AlignedBuffer<std::uint16_t> keys_;    ///< [FlashTiles::kBlock, key_width]
  AlignedBuffer<std::uint16_t> values_;  ///< [FlashTiles::kBlock, value_width]
};

/// Some queries of one head over all tokens that they see.
template <class Head>
class HeadAttention {
 public:
  HeadAttention(const HeadsProblem& problem, Device& device)
      : progress_(device.communicator().progress()),
        head_(problem, device.scratch()),
        heads_(problem.q->dim(1)),
        first_seen_(problem.num_tokens - problem.q->dim(0) + 1),
        key_width_(problem.q->dim(2)),
        read_q_(*problem.q, key_width_),
        queries_(static_cast<std::size_t>(kQueries * key_width_), &device.scratch()),
        visible_(&device.scratch()),
        sums_(head_.rows().make_sums(kQueries)) {}

  void run(std::int64_t head_idx, std::int64_t first_query, std::int64_t count, const RowWriter& writer) {
    visible_.clear();
    for (std::int64_t idx = 0; idx < count; ++idx) {
      read_q_.read((first_query + idx) * heads_ + head_idx, queries_.data() + idx * key_width_);
      visible_.push_back(first_seen_ + first_query + idx);
    }
    head_.rows().set_queries(queries_.data(), key_width_, visible_);
    sums_.clear();
    constexpr std::int64_t kBlock = FlashRows::kBlock;
    static_assert(kBlock == FlashTiles::kBlock);
    for (std::int64_t token = 0; token < visible_.back(); token += kBlock) {
      progress_.note_work();
      head_.add(head_idx, token, std::min(kBlock, visible_.back() - token), sums_);
    }
    head_.finish(sums_);
    for (std::int64_t idx = 0; idx < count; ++idx) {
      float* row = sums_.values.data() + idx * sums_.width;
      const auto inverse = static_cast<float>(1.0 / sums_.sums[static_cast<std::size_t>(idx)]);
      for (std::int64_t col = 0; col < sums_.width; ++col) row[col] *= inverse;
      writer.write((first_query + idx) * heads_ + head_idx, row);
    }
  }

 private:
  Progress& progress_;
  Head head_;
  std::int64_t heads_;
  std::int64_t first_seen_;  ///< tokens that the first query sees
  std::int64_t key_width_;
  RowReader read_q_;
  std::pmr::vector<float> queries_;         ///< [kQueries, key_width]
  std::pmr::vector<std::int64_t> visible_;  ///< how many tokens each query sees
  RowSums sums_;                            ///< of kQueries rows
};

/// Late queries see more: taking them alternately from both ends gives equal shares of a range about equal work.
std::int64_t balanced(std::int64_t idx, std::int64_t count) { return idx % 2 == 0 ? idx / 2 : count - 1 - idx / 2; }

template <class Head>
void attend(const HeadsProblem& problem, const RowWriter& writer, Device& device) {
  const std::int64_t num_queries = problem.q->dim(0);
  const std::int64_t batches = ceil_div(num_queries, kQueries);
  device.team().parallel_for(static_cast<std::size_t>(problem.q->dim(1) * batches), 1, [&](std::size_t begin, std::size_t end) {
    HeadAttention<Head> attention(problem, device);
    for (auto item = static_cast<std::int64_t>(begin); item < static_cast<std::int64_t>(end); ++item) {
      const std::int64_t first = balanced(item % batches, batches) * kQueries;
      attention.run(item / batches, first, std::min(kQueries, num_queries - first), writer);
    }
  });
}

}  // namespace

void attend_heads(const HeadsProblem& problem, const RowWriter& writer, Device& device) {
  if (problem.on_tiles) return attend<TileHead>(problem, writer, device);
  attend<FloatHead>(problem, writer, device);
}

}  // namespace meshseek::cpu

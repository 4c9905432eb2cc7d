#include "ops/cpu/latent_attention.hpp"

#include <algorithm>
#include <cmath>

#include "ops/cpu/attention.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/tile_attention.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kPiece = 256;  ///< tokens whose sums one thread makes
constexpr std::int64_t kRows = 128;   ///< query rows that pass over the context together: their sums stay in the second-level cache

/// Some query rows over one piece of the context.
class FloatPiece {
 public:
  FloatPiece(const LatentProblem& problem, std::int64_t first_row, std::int64_t num_rows)
      : problem_(problem),
        num_rows_(num_rows),
        rows_(num_rows, problem.width, round_up(problem.rank, kFaceSize), problem.scale),
        tokens_(static_cast<std::size_t>(FlashRows::kBlock * problem.stride)) {
    std::fill_n(tokens_.data(), FlashRows::kBlock * problem.stride, 0.0F);
    rows_.set_queries(problem.queries.data() + first_row * problem.stride, problem.stride,
                      problem.visible.subspan(static_cast<std::size_t>(first_row), static_cast<std::size_t>(num_rows)));
  }

  RowSums run(std::int64_t first, std::int64_t end) {
    RowSums sums = rows_.make_sums(num_rows_);
    for (std::int64_t token = first; token < end; token += FlashRows::kBlock) {
      const std::int64_t count = std::min(FlashRows::kBlock, end - token);
      for (std::int64_t idx = 0; idx < count; ++idx) problem_.cache.read(token + idx, tokens_.data() + idx * problem_.stride);
      const std::int64_t next = std::min(token + count, end - 1);
      rows_.add({.first_token = token,
                 .count = count,
                 .keys = tokens_.data(),
                 .key_stride = problem_.stride,
                 .values = tokens_.data(),
                 .value_stride = problem_.stride,
                 .next = problem_.cache.stored(next, std::min(FlashRows::kBlock, end - next))},
                sums);
    }
    return sums;
  }

 private:
  const LatentProblem& problem_;
  std::int64_t num_rows_;
  FlashRows rows_;
  AlignedBuffer<float> tokens_;  ///< [FlashRows::kBlock, stride]
};

/// The same on tiles. Whole blocks of a bf16 cache are read where they lie.
class TilePiece {
 public:
  TilePiece(const LatentProblem& problem, std::int64_t first_row, std::int64_t num_rows)
      : problem_(problem),
        num_rows_(num_rows),
        rows_(num_rows, problem.width, problem.rank, problem.scale),
        stride_(std::max(rows_.key_width(), rows_.value_width())),
        in_place_(problem.cache.is_bf16() && rows_.key_width() == problem.width && rows_.value_width() == problem.rank),
        tokens_(static_cast<std::size_t>(FlashTiles::kBlock * stride_)) {
    std::fill_n(tokens_.data(), FlashTiles::kBlock * stride_, std::uint16_t{0});
    rows_.set_queries(problem.queries.data() + first_row * problem.stride, problem.stride,
                      problem.visible.subspan(static_cast<std::size_t>(first_row), static_cast<std::size_t>(num_rows)));
  }

  RowSums run(std::int64_t first, std::int64_t end) {
    RowSums sums = rows_.make_sums(num_rows_);
    for (std::int64_t token = first; token < end; token += FlashTiles::kBlock) {
      const std::int64_t count = std::min(FlashTiles::kBlock, end - token);
      const std::int64_t next = std::min(token + count, end - 1);
      TokenBlock block = {.first_token = token,
                          .count = count,
                          .keys = tokens_.data(),
                          .key_stride = stride_,
                          .next = problem_.cache.stored(next, std::min(FlashTiles::kBlock, end - next))};
      if (in_place_ && count == FlashTiles::kBlock) {
        block.keys = reinterpret_cast<const std::uint16_t*>(problem_.cache.stored(token, count).data());
        block.key_stride = problem_.width;
      } else {
        for (std::int64_t idx = 0; idx < count; ++idx)
          problem_.cache.read_bf16(token + idx, 0, tokens_.data() + idx * stride_, problem_.width);
      }
      block.values = block.keys;
      block.value_stride = block.key_stride;
      rows_.add(block, sums);
    }
    rows_.finish(sums);
    return sums;
  }

 private:
  const LatentProblem& problem_;
  std::int64_t num_rows_;
  FlashTiles rows_;
  std::int64_t stride_;
  bool in_place_;
  AlignedBuffer<std::uint16_t> tokens_;  ///< [FlashTiles::kBlock, stride]
};

/// Some query rows of one sequence, and what they gather from each piece of its context.
struct RowBatch {
  const LatentProblem* problem = nullptr;
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  std::vector<RowSums> pieces = {};
};

std::vector<RowBatch> make_batches(std::span<const LatentProblem> problems) {
  std::vector<RowBatch> batches;
  for (const LatentProblem& problem : problems) {
    const auto num_pieces = static_cast<std::size_t>(ceil_div(problem.num_tokens, kPiece));
    for (std::int64_t row = 0; row < problem.num_rows(); row += kRows) {
      batches.push_back({.problem = &problem, .first_row = row, .num_rows = std::min(kRows, problem.num_rows() - row)});
      batches.back().pieces.assign(num_pieces, RowSums(0, 0));
    }
  }
  return batches;
}

/// One row of all pieces, in their order. \param result [width], zeros
void merge(const std::vector<RowSums>& pieces, std::size_t row, std::int64_t width, float* result) {
  float top = pieces.front().tops[row];
  for (const RowSums& piece : pieces) top = std::max(top, piece.tops[row]);
  double sum = 0.0;
  for (const RowSums& piece : pieces) sum += piece.sums[row] * static_cast<double>(std::exp(piece.tops[row] - top));
  for (const RowSums& piece : pieces) {
    const auto factor = static_cast<float>(static_cast<double>(std::exp(piece.tops[row] - top)) / sum);
    kernels().axpy(factor, piece.values.data() + row * static_cast<std::size_t>(piece.width), width, result);
  }
}

/// Gathers pieces begin..end of a batch.
template <class Piece>
void gather_pieces(RowBatch& batch, std::size_t begin, std::size_t end) {
  Piece piece(*batch.problem, batch.first_row, batch.num_rows);
  for (std::size_t idx = begin; idx < end; ++idx) {
    const std::int64_t token = static_cast<std::int64_t>(idx) * kPiece;
    batch.pieces[idx] = piece.run(token, std::min(token + kPiece, batch.problem->num_tokens));
  }
}

/// Gathers pieces begin..end of all batches, counted through.
void gather(std::span<RowBatch> batches, std::size_t begin, std::size_t end) {
  std::size_t first = 0;  // piece of the batch
  for (RowBatch& batch : batches) {
    const std::size_t last = first + batch.pieces.size();
    if (begin < last && end > first) {
      const auto gather_here = batch.problem->on_tiles ? gather_pieces<TilePiece> : gather_pieces<FloatPiece>;
      gather_here(batch, std::max(begin, first) - first, std::min(end, last) - first);
    }
    first = last;
  }
}

}  // namespace

void attend_latent(std::span<const LatentProblem> problems, std::vector<float>& results, ThreadTeam& team) {
  const std::int64_t width = round_up(problems.front().rank, kFaceSize);
  std::vector<RowBatch> batches = make_batches(problems);
  std::size_t num_pieces = 0;
  std::size_t num_rows = 0;
  for (const RowBatch& batch : batches) {
    num_pieces += batch.pieces.size();
    num_rows += static_cast<std::size_t>(batch.num_rows);
  }
  team.parallel_for(num_pieces, 1, [&](std::size_t begin, std::size_t end) { gather(batches, begin, end); });
  results.assign(num_rows * static_cast<std::size_t>(width), 0.0F);
  team.parallel_for(num_rows, 4, [&](std::size_t begin, std::size_t end) {
    std::size_t first = 0;  // row of the batch
    for (const RowBatch& batch : batches) {
      const std::size_t last = first + static_cast<std::size_t>(batch.num_rows);
      for (std::size_t row = std::max(begin, first); row < std::min(end, last); ++row)
        merge(batch.pieces, row - first, width, results.data() + row * static_cast<std::size_t>(width));
      first = last;
    }
  });
}

}  // namespace meshseek::cpu

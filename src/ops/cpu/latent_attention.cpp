#include "ops/cpu/latent_attention.hpp"

#include <algorithm>
#include <cmath>

#include "ops/cpu/attention.hpp"
#include "ops/cpu/kernels.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kPiece = 256;  ///< tokens whose sums one thread makes
constexpr std::int64_t kRows = 128;   ///< query rows that pass over the context together: their sums stay in the second-level cache

/// Some query rows over one piece of the context.
class Piece {
 public:
  Piece(const LatentProblem& problem, std::int64_t first_row, std::int64_t num_rows)
      : problem_(problem),
        rows_(num_rows, problem.width, round_up(problem.rank, kFaceSize), problem.scale),
        tokens_(static_cast<std::size_t>(FlashRows::kBlock * problem.stride)) {
    std::fill_n(tokens_.data(), FlashRows::kBlock * problem.stride, 0.0F);
    rows_.set_queries(problem.queries.data() + first_row * problem.stride, problem.stride,
                      problem.visible.subspan(static_cast<std::size_t>(first_row), static_cast<std::size_t>(num_rows)));
  }

  void run(std::int64_t first, std::int64_t end, RowSums& sums) {
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
  }

 private:
  const LatentProblem& problem_;
  FlashRows rows_;
  AlignedBuffer<float> tokens_;  ///< [FlashRows::kBlock, stride]
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
    kernels().axpy(factor, piece.values.data() + row * static_cast<std::size_t>(width), width, result);
  }
}

/// Gathers pieces begin..end of all batches, counted through.
void gather(std::span<RowBatch> batches, std::size_t begin, std::size_t end, std::int64_t width) {
  std::size_t first = 0;  // piece of the batch
  for (RowBatch& batch : batches) {
    const std::size_t last = first + batch.pieces.size();
    if (begin < last && end > first) {
      Piece piece(*batch.problem, batch.first_row, batch.num_rows);
      for (std::size_t idx = std::max(begin, first); idx < std::min(end, last); ++idx) {
        const std::int64_t token = static_cast<std::int64_t>(idx - first) * kPiece;
        RowSums& sums = batch.pieces[idx - first];
        sums = RowSums(batch.num_rows, width);
        piece.run(token, std::min(token + kPiece, batch.problem->num_tokens), sums);
      }
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
  team.parallel_for(num_pieces, 1, [&](std::size_t begin, std::size_t end) { gather(batches, begin, end, width); });
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

#include "ops/cpu/latent_attention.hpp"

#include <algorithm>
#include <cmath>
#include <memory_resource>
#include <utility>
#include <vector>

#include "mesh/communicator.hpp"
#include "ops/cpu/attention.hpp"
#include "ops/cpu/kernels.hpp"
#include "ops/cpu/tile_attention.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kRows = 128;  ///< query rows that pass over the context together: their sums stay in the second-level cache

/// Tokens whose sums one thread makes.
struct Piece {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Pieces lie at fixed places: of 64 tokens at the start, so that a short context has work for several threads, then of 256.
constexpr std::int64_t kShortPiece = 64;
constexpr std::int64_t kNumShort = 4;
constexpr std::int64_t kLongPiece = 256;

Piece piece_at(std::int64_t idx, std::int64_t num_tokens) {
  const bool is_short = idx < kNumShort;
  const std::int64_t begin = is_short ? idx * kShortPiece : kNumShort * kShortPiece + (idx - kNumShort) * kLongPiece;
  return {begin, std::min(begin + (is_short ? kShortPiece : kLongPiece), num_tokens)};
}

std::int64_t num_pieces(std::int64_t num_tokens) {
  const std::int64_t rest = std::max<std::int64_t>(0, num_tokens - kNumShort * kShortPiece);
  return std::min(kNumShort, ceil_div(num_tokens, kShortPiece)) + ceil_div(rest, kLongPiece);
}

/// Some query rows over one piece of the context. A cache whose latents are whole registers is read where it lies.
class FloatPiece {
 public:
  FloatPiece(const LatentProblem& problem, std::int64_t first_row, std::int64_t num_rows, std::pmr::memory_resource& memory)
      : problem_(problem),
        num_rows_(num_rows),
        rows_(num_rows, problem.width, round_up(problem.rank, kFaceSize), problem.scale, memory),
        in_place_(problem.rank % (2 * kFaceSize) == 0),
        tokens_(in_place_ ? 0 : static_cast<std::size_t>(FlashRows::kBlock * problem.stride), memory) {
    std::fill_n(tokens_.data(), in_place_ ? 0 : FlashRows::kBlock * problem.stride, 0.0F);
    rows_.set_queries(problem.queries.data() + first_row * problem.stride, problem.stride,
                      problem.visible.subspan(static_cast<std::size_t>(first_row), static_cast<std::size_t>(num_rows)));
  }

  RowSums run(const Piece& piece) {
    RowSums sums = rows_.make_sums(num_rows_);
    for (std::int64_t token = piece.begin; token < piece.end; token += FlashRows::kBlock) {
      const std::int64_t count = std::min(FlashRows::kBlock, piece.end - token);
      const StoredRows tokens = in_place_ ? stored(token, count) : read(token, count);
      const bool ends = tokens.halves == nullptr || token + count == problem_.num_tokens;
      rows_.add({.first_token = token, .count = count, .keys = tokens, .values = tokens, .ahead = ends ? 0 : count * tokens.stride}, sums);
    }
    return sums;
  }

 private:
  StoredRows stored(std::int64_t token, std::int64_t count) const {
    const std::byte* rows = problem_.cache.stored(token, count).data();
    if (problem_.cache.is_bf16()) return {.halves = reinterpret_cast<const std::uint16_t*>(rows), .stride = problem_.width};
    return {.floats = reinterpret_cast<const float*>(rows), .stride = problem_.width};
  }
  StoredRows read(std::int64_t token, std::int64_t count) {
    for (std::int64_t idx = 0; idx < count; ++idx) problem_.cache.read(token + idx, tokens_.data() + idx * problem_.stride);
    return {.floats = tokens_.data(), .stride = problem_.stride};
  }

  const LatentProblem& problem_;
  std::int64_t num_rows_;
  FlashRows rows_;
  bool in_place_;
  AlignedBuffer<float> tokens_;  ///< [FlashRows::kBlock, stride], unless in place
};

/// The same on tiles. Whole blocks of a bf16 cache are read where they lie.
class TilePiece {
 public:
  TilePiece(const LatentProblem& problem, std::int64_t first_row, std::int64_t num_rows, std::pmr::memory_resource& memory)
      : problem_(problem),
        num_rows_(num_rows),
        rows_(num_rows, problem.width, problem.rank, problem.scale, memory),
        stride_(std::max(rows_.key_width(), rows_.value_width())),
        in_place_(problem.cache.is_bf16() && rows_.key_width() == problem.width && rows_.value_width() == problem.rank),
        tokens_(static_cast<std::size_t>(FlashTiles::kBlock * stride_), memory) {
    std::fill_n(tokens_.data(), FlashTiles::kBlock * stride_, std::uint16_t{0});
    rows_.set_queries(problem.queries.data() + first_row * problem.stride, problem.stride,
                      problem.visible.subspan(static_cast<std::size_t>(first_row), static_cast<std::size_t>(num_rows)));
  }

  RowSums run(const Piece& piece) {
    RowSums sums = rows_.make_sums(num_rows_);
    for (std::int64_t token = piece.begin; token < piece.end; token += FlashTiles::kBlock) {
      const std::int64_t count = std::min(FlashTiles::kBlock, piece.end - token);
      const std::int64_t next = std::min(token + count, piece.end - 1);
      TokenBlock block = {.first_token = token,
                          .count = count,
                          .keys = tokens_.data(),
                          .key_stride = stride_,
                          .next = problem_.cache.stored(next, std::min(FlashTiles::kBlock, piece.end - next))};
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
  std::pmr::vector<RowSums> pieces;

  /// Blocks of its context: what threads share out.
  std::size_t num_blocks() const { return static_cast<std::size_t>(ceil_div(problem->num_tokens, kShortPiece)); }
};

std::pmr::vector<RowBatch> make_batches(std::span<const LatentProblem> problems, std::pmr::memory_resource& memory) {
  std::pmr::vector<RowBatch> batches(&memory);
  for (const LatentProblem& problem : problems) {
    for (std::int64_t row = 0; row < problem.num_rows(); row += kRows) {
      std::pmr::vector<RowSums> pieces(&memory);
      const std::int64_t count = num_pieces(problem.num_tokens);
      pieces.reserve(static_cast<std::size_t>(count));
      for (std::int64_t idx = 0; idx < count; ++idx) pieces.emplace_back(0, 0, memory);
      batches.push_back({&problem, row, std::min(kRows, problem.num_rows() - row), std::move(pieces)});
    }
  }
  return batches;
}

/// One row of all pieces, in their order. \param result [width], zeros
void merge(std::span<const RowSums> pieces, std::size_t row, std::int64_t width, float* result) {
  float top = pieces.front().tops[row];
  for (const RowSums& piece : pieces) top = std::max(top, piece.tops[row]);
  double sum = 0.0;
  for (const RowSums& piece : pieces) sum += piece.sums[row] * static_cast<double>(std::exp(piece.tops[row] - top));
  for (const RowSums& piece : pieces) {
    const auto factor = static_cast<float>(static_cast<double>(std::exp(piece.tops[row] - top)) / sum);
    kernels().axpy(factor, piece.values.data() + static_cast<std::int64_t>(row) * piece.width, width, result);
  }
}

/// Gathers the pieces of a batch that begin in its blocks begin..end.
template <class Gatherer>
void gather_pieces(RowBatch& batch, std::size_t begin, std::size_t end, Device& device) {
  Gatherer gatherer(*batch.problem, batch.first_row, batch.num_rows, device.scratch());
  for (std::size_t idx = 0; idx < batch.pieces.size(); ++idx) {
    const Piece piece = piece_at(static_cast<std::int64_t>(idx), batch.problem->num_tokens);
    const auto block = static_cast<std::size_t>(piece.begin / kShortPiece);
    if (block < begin || block >= end) continue;
    device.communicator().progress().note_work();
    batch.pieces[idx] = gatherer.run(piece);
  }
}

/// The same for blocks begin..end of all batches, counted through.
void gather(std::span<RowBatch> batches, std::size_t begin, std::size_t end, Device& device) {
  std::size_t first = 0;  // block of the batch
  for (RowBatch& batch : batches) {
    const std::size_t last = first + batch.num_blocks();
    if (begin < last && end > first) {
      const auto gather_here = batch.problem->on_tiles ? gather_pieces<TilePiece> : gather_pieces<FloatPiece>;
      gather_here(batch, std::max(begin, first) - first, std::min(end, last) - first, device);
    }
    first = last;
  }
}

}  // namespace

void attend_latent(std::span<const LatentProblem> problems, std::span<float> results, Device& device) {
  const std::int64_t width = round_up(problems.front().rank, kFaceSize);
  std::pmr::vector<RowBatch> batches = make_batches(problems, device.scratch());
  std::size_t num_blocks = 0;
  std::size_t num_rows = 0;
  for (const RowBatch& batch : batches) {
    num_blocks += batch.num_blocks();
    num_rows += static_cast<std::size_t>(batch.num_rows);
  }
  device.team().parallel_for(num_blocks, 1, [&](std::size_t begin, std::size_t end) { gather(batches, begin, end, device); });
  std::fill(results.begin(), results.end(), 0.0F);
  device.team().parallel_for(num_rows, 4, [&](std::size_t begin, std::size_t end) {
    std::size_t first = 0;  // row of the batch
    for (const RowBatch& batch : batches) {
      const std::size_t last = first + static_cast<std::size_t>(batch.num_rows);
      for (std::size_t row = std::max(begin, first); row < std::min(end, last); ++row)
        merge(batch.pieces, row - first, width, results.data() + static_cast<std::int64_t>(row) * width);
      first = last;
    }
  });
}

}  // namespace meshseek::cpu

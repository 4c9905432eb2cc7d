#include "ops/cpu/latent_attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/cpu/kernels.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kPiece = 128;  ///< tokens whose sums one thread makes
constexpr std::int64_t kBlock = 16;   ///< tokens that are widened at once: they stay in L1

/// Running sums of one query row over some of the tokens: sum of exp(score - top), and of that times the values.
struct RowSums {
  float top = -std::numeric_limits<float>::infinity();
  double sum = 0.0;
};

/// All query rows over one piece of the context.
class Piece {
 public:
  explicit Piece(const LatentProblem& problem)
      : problem_(problem),
        width_(round_up(problem.rank, kFaceSize)),
        tokens_(static_cast<std::size_t>(kBlock * problem.stride)),
        scores_(static_cast<std::size_t>(problem.num_rows() * kBlock)),
        products_(static_cast<std::size_t>(problem.num_rows() * width_)) {}

  /// \param values [R, width_], zeros at first
  void run(std::int64_t first, std::int64_t end, RowSums* sums, float* values) {
    for (std::int64_t token = first; token < end; token += kBlock) {
      const std::int64_t count = std::min(kBlock, end - token);
      for (std::int64_t idx = 0; idx < count; ++idx) problem_.cache->read(token + idx, tokens_.data() + idx * problem_.stride);
      kernels().dot_block({.x = problem_.queries.data(),
                           .x_stride = problem_.stride,
                           .num_x = problem_.num_rows(),
                           .w = tokens_.data(),
                           .w_stride = problem_.stride,
                           .num_w = count,
                           .k = problem_.stride,
                           .out = scores_.data(),
                           .out_stride = kBlock});
      std::int64_t shared = count;  // tokens that all rows see; the others must not even be multiplied by zero
      for (std::int64_t row = 0; row < problem_.num_rows(); ++row) {
        weigh(row, seen(row, token, count), sums[row], values + row * width_);
        shared = std::min(shared, seen(row, token, count));
      }
      kernels().weighted_sum({.weights = scores_.data(),
                              .weights_stride = kBlock,
                              .num_x = problem_.num_rows(),
                              .rows = tokens_.data(),
                              .row_stride = problem_.stride,
                              .num_rows = shared,
                              .cols = width_,
                              .out = products_.data(),
                              .out_stride = width_});
      // The same sums as if the rows had been multiplied alone.
      for (std::int64_t row = 0; row < problem_.num_rows() && shared < count; ++row) {
        for (std::int64_t idx = shared; idx < seen(row, token, count); ++idx) {
          kernels().axpy(scores_[static_cast<std::size_t>(row * kBlock + idx)], tokens_.data() + idx * problem_.stride, width_,
                         products_.data() + row * width_);
        }
      }
      for (std::size_t idx = 0; idx < products_.size(); ++idx) values[idx] += products_[idx];
    }
  }

 private:
  /// How many of `count` tokens from `token` on a row sees.
  std::int64_t seen(std::int64_t row, std::int64_t token, std::int64_t count) const {
    return std::clamp<std::int64_t>(problem_.visible[static_cast<std::size_t>(row)] - token, 0, count);
  }

  /// Scores become weights relative to the largest score so far; what was summed before is brought to it.
  void weigh(std::int64_t row, std::int64_t seen, RowSums& sums, float* values) {
    float* scores = scores_.data() + row * kBlock;
    if (seen == 0) return;
    const float top = std::max(sums.top, *std::max_element(scores, scores + seen) * problem_.scale);
    if (top != sums.top) {
      const float factor = std::exp(sums.top - top);
      sums.sum *= static_cast<double>(factor);
      for (std::int64_t idx = 0; idx < width_; ++idx) values[idx] *= factor;
      sums.top = top;
    }
    sums.sum += static_cast<double>(kernels().exp_row(scores, seen, problem_.scale, top));
  }

  const LatentProblem& problem_;
  std::int64_t width_;
  std::vector<float> tokens_;    ///< [kBlock, stride]
  std::vector<float> scores_;    ///< [R, kBlock]
  std::vector<float> products_;  ///< [R, width_]
};

}  // namespace

void attend_latent(const LatentProblem& problem, std::vector<float>& results, ThreadTeam& team) {
  const std::int64_t num_rows = problem.num_rows();
  const std::int64_t width = round_up(problem.rank, kFaceSize);
  const std::int64_t num_pieces = ceil_div(problem.num_tokens, kPiece);
  std::vector<RowSums> sums(static_cast<std::size_t>(num_pieces * num_rows));
  std::vector<float> values(static_cast<std::size_t>(num_pieces * num_rows * width));
  team.parallel_for(static_cast<std::size_t>(num_pieces), 1, [&](std::size_t begin, std::size_t end) {
    Piece piece(problem);
    for (auto idx = static_cast<std::int64_t>(begin); idx < static_cast<std::int64_t>(end); ++idx) {
      const std::int64_t last = std::min((idx + 1) * kPiece, problem.num_tokens);
      piece.run(idx * kPiece, last, sums.data() + idx * num_rows, values.data() + idx * num_rows * width);
    }
  });
  results.assign(static_cast<std::size_t>(num_rows * width), 0.0F);
  team.parallel_for(static_cast<std::size_t>(num_rows), 4, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const auto sums_of = [&](std::int64_t piece) -> const RowSums& { return sums[static_cast<std::size_t>(piece * num_rows) + row]; };
      float top = sums_of(0).top;
      for (std::int64_t piece = 1; piece < num_pieces; ++piece) top = std::max(top, sums_of(piece).top);
      double sum = 0.0;
      for (std::int64_t piece = 0; piece < num_pieces; ++piece)
        sum += sums_of(piece).sum * static_cast<double>(std::exp(sums_of(piece).top - top));
      float* result = results.data() + row * static_cast<std::size_t>(width);
      for (std::int64_t piece = 0; piece < num_pieces; ++piece) {
        const auto factor = static_cast<float>(static_cast<double>(std::exp(sums_of(piece).top - top)) / sum);
        kernels().axpy(factor, values.data() + (static_cast<std::size_t>(piece * num_rows) + row) * static_cast<std::size_t>(width), width,
                       result);
      }
    }
  });
}

}  // namespace meshseek::cpu

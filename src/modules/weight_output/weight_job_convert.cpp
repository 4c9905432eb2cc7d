#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "hf/dequantise.hpp"
#include "mesh/shards.hpp"
#include "modules/weight_output/weight_job.hpp"
#include "tensor/read_rows.hpp"
#include "tensor/tile_layout.hpp"

namespace meshseek {
namespace {

/// A tensor as a batch of matrices.
struct Matrices {
  std::int64_t count = 1;
  std::int64_t rows = 1;
  std::int64_t cols = 1;
};

Matrices matrices_of(const Shape& shape) {
  Matrices matrices;
  if (!shape.empty()) matrices.cols = shape.back();
  if (shape.size() > 1) matrices.rows = shape[shape.size() - 2];
  for (std::size_t dim = 0; dim + 2 < shape.size(); ++dim) matrices.count *= shape[dim];
  return matrices;
}

std::int64_t num_pieces(const WeightJob& job) {
  if (job.split.over == WeightSplit::Over::cols) return job.mesh.cols;
  return job.split.over == WeightSplit::Over::devices ? job.mesh.num_devices() : 1;
}

std::int64_t piece_of_rank(const WeightJob& job, std::int64_t rank) {
  if (job.split.over == WeightSplit::Over::cols) return rank % job.mesh.cols;
  return job.split.over == WeightSplit::Over::devices ? rank : 0;
}

/// Reads rows of the whole tensor, wherever the source has them.
void read_rows(const WeightRows& source, std::int64_t first_row, std::int64_t num_rows, std::int64_t first_col, std::int64_t num_cols,
               float* out) {
  std::int64_t begin = 0;  // of the current source rows, among all
  for (const SourceRows& rows : source.rows) {
    const std::int64_t from = std::max(first_row, begin);
    const std::int64_t to = std::min(first_row + num_rows, begin + rows.num_rows);
    if (from < to) {
      const MatrixPart part = {rows.first_row + from - begin, to - from, first_col, num_cols};
      const auto count = static_cast<std::size_t>(part.num_rows * num_cols);
      source.source->read(rows.tensor, part, {out + (from - first_row) * num_cols, count});
    }
    begin += rows.num_rows;
    if (begin >= first_row + num_rows) return;
  }
}

/// Whether the columns of a piece begin within a block that shares an exponent, as with heads of 28 values.
bool cuts_blocks(const WeightJob& job, const WeightPieces& pieces) {
  return is_block_float(job.dtype) && job.split.over != WeightSplit::Over::none && !job.shape.empty() &&
         pieces.shape.back() != job.shape.back() && pieces.shape.back() % kFaceSize != 0;
}

/// Reads rows as an uncut store holds them: cut or not, the blocks of the whole tensor decide what is lost.
void read_quantised_rows(const WeightJob& job, std::int64_t first_row, std::int64_t num_rows, std::int64_t first_col, std::int64_t num_cols,
                         float* out) {
  const Shape shape = {num_rows, job.shape.back()};
  std::vector<float> values(static_cast<std::size_t>(volume(shape)));
  read_rows(job.source, first_row, num_rows, 0, shape[1], values.data());
  const Tensor stored = make_tensor(values, shape, job.dtype, job.layout);
  read_rows(stored, {0, num_rows, first_col, num_cols}, {out, static_cast<std::size_t>(num_rows * num_cols)}, num_cols);
}

void check_finite(const WeightJob& job, const ChunkBuffers& buffers) {
  if (!find_non_finite(buffers.values)) return;
  throw Error(fmt::format("[{}] has values that are not finite (for {}); the checkpoint is damaged, get the shard again",
                          job.source.rows.front().tensor, job.path));
}

/// Rows that a chunk has at most: whole rows of tiles.
std::int64_t rows_per_chunk(const WeightJob& job, const Matrices& matrices, std::int64_t max_values) {
  const std::int64_t grain = job.layout == Layout::tile ? kTileSize : 1;
  const std::int64_t fitting = std::max<std::int64_t>(max_values / std::max<std::int64_t>(matrices.cols, 1), grain);
  return std::min(fitting / grain * grain, round_up(matrices.rows, grain));
}

}  // namespace

WeightPieces pieces_of(const WeightJob& job) {
  WeightPieces pieces = {.shape = job.shape};
  if (job.split.over != WeightSplit::Over::none) {
    const auto dim = static_cast<std::size_t>(job.split.dim);
    pieces.shape[dim] = piece_size(job.shape[dim], job.split.unit, num_pieces(job));
  }
  for (std::int64_t rank = 0; rank < job.mesh.num_devices(); ++rank) {
    if (!job.local.contains(rank)) continue;
    const std::int64_t piece = piece_of_rank(job, rank);
    const auto known = std::find(pieces.pieces.begin(), pieces.pieces.end(), piece);
    pieces.ranks.push_back(rank);
    pieces.buffer_of_rank.push_back(static_cast<std::size_t>(known - pieces.pieces.begin()));
    if (known == pieces.pieces.end()) pieces.pieces.push_back(piece);
  }
  return pieces;
}

WeightOrigin origin_of(const WeightJob& job, const WeightPieces& pieces, std::int64_t piece) {
  WeightOrigin origin;
  if (job.split.over == WeightSplit::Over::none) return origin;
  const auto dim = static_cast<std::size_t>(job.split.dim);
  const std::int64_t begin = piece * pieces.shape[dim];
  const std::size_t from_end = job.shape.size() - dim;
  if (from_end == 1) origin.col = begin;
  if (from_end == 2) origin.row = begin;
  if (from_end >= 3) {
    origin.matrix = begin;
    for (std::size_t inner = dim + 1; inner + 2 < job.shape.size(); ++inner) origin.matrix *= job.shape[inner];
  }
  return origin;
}

std::vector<std::string> placement_of(const WeightSplit& split) {
  const std::string shard = fmt::format("shard({})", split.dim);
  if (split.over == WeightSplit::Over::cols) return {"replicate", shard};
  if (split.over == WeightSplit::Over::devices) return {shard, shard};
  return {"replicate", "replicate"};
}

TensorFilePlan plan_file(const WeightJob& job, const WeightPieces& pieces) {
  TensorFileHeader header = {.shape = pieces.shape, .dtype = job.dtype, .layout = job.layout};
  header.alignment = job.layout == Layout::tile ? std::vector<std::uint32_t>{kTileSize, kTileSize} : std::vector<std::uint32_t>{1};
  const auto rows = static_cast<std::uint32_t>(job.mesh.rows);
  const auto cols = static_cast<std::uint32_t>(job.mesh.cols);
  header.mesh_shape = {rows, cols};
  for (const std::int64_t rank : pieces.ranks) {
    const std::vector<std::uint32_t> coordinate = {static_cast<std::uint32_t>(rank) / cols, static_cast<std::uint32_t>(rank) % cols};
    header.shards.push_back({.mesh_coordinate = coordinate});
    header.mesh_coords.push_back(coordinate);
  }
  // A file for one device says what TTNN says of a tensor without a mesh mapper.
  const Placement shard = {.shard_dim = static_cast<std::int32_t>(job.split.dim)};
  if (job.mesh.num_devices() > 1) {
    const bool over_devices = job.split.over == WeightSplit::Over::devices;
    header.distribution_shape = over_devices ? std::vector{rows * cols} : std::vector{rows, cols};
    header.placements =
        over_devices ? std::vector{shard} : std::vector{Placement{}, job.split.over == WeightSplit::Over::cols ? shard : Placement{}};
  }
  return plan_tensor_file(job.path, std::move(header), pieces.pieces.size(), pieces.buffer_of_rank);
}

std::vector<WeightChunk> chunks_of(const WeightJob& job, const WeightPieces& pieces, const TensorFilePlan& plan, std::int64_t max_values) {
  const Matrices matrices = matrices_of(pieces.shape);
  const std::int64_t step = rows_per_chunk(job, matrices, max_values);
  std::vector<WeightChunk> chunks;
  for (std::size_t buffer_idx = 0; buffer_idx < pieces.pieces.size(); ++buffer_idx) {
    std::uint64_t offset = plan.offsets[buffer_idx];
    for (std::int64_t matrix = 0; matrix < matrices.count; ++matrix) {
      for (std::int64_t row = 0; row < matrices.rows; row += step) {
        const std::int64_t num_rows = std::min(step, matrices.rows - row);
        chunks.push_back({buffer_idx, matrix, row, num_rows, offset});
        offset += static_cast<std::uint64_t>(storage_bytes({num_rows, matrices.cols}, job.dtype, job.layout));
      }
    }
  }
  return chunks;
}

std::int64_t chunk_values(const WeightJob& job, const WeightPieces& pieces, std::int64_t max_values) {
  const Matrices matrices = matrices_of(pieces.shape);
  // A source row is read whole, also when the piece needs a part of it.
  return rows_per_chunk(job, matrices, max_values) * std::max(matrices.cols, matrices_of(job.shape).cols);
}

void encode_chunk(const WeightJob& job, const WeightPieces& pieces, const WeightChunk& chunk, ChunkBuffers& buffers) {
  const Matrices whole = matrices_of(job.shape);
  const Matrices piece = matrices_of(pieces.shape);
  const WeightOrigin origin = origin_of(job, pieces, pieces.pieces[chunk.buffer_idx]);
  const std::int64_t matrix = origin.matrix + chunk.matrix_idx;
  const std::int64_t first_row = origin.row + chunk.first_row;
  const std::int64_t num_rows = matrix < whole.count ? std::clamp<std::int64_t>(whole.rows - first_row, 0, chunk.num_rows) : 0;
  const std::int64_t num_cols = std::clamp<std::int64_t>(whole.cols - origin.col, 0, piece.cols);
  buffers.values.assign(static_cast<std::size_t>(chunk.num_rows * piece.cols), 0.0F);
  if (num_rows > 0 && num_cols > 0) {
    const std::int64_t source_row = matrix * whole.rows + first_row;
    if (cuts_blocks(job, pieces)) {
      read_quantised_rows(job, source_row, num_rows, origin.col, num_cols, buffers.values.data());
    } else {
      read_rows(job.source, source_row, num_rows, origin.col, num_cols, buffers.values.data());
    }
    // The rows lie close together: those of a piece that is padded on the right are moved apart, the last one first.
    for (std::int64_t row = num_rows - 1; row > 0 && num_cols < piece.cols; --row) {
      float* const values = buffers.values.data();
      std::copy_backward(values + row * num_cols, values + (row + 1) * num_cols, values + row * piece.cols + num_cols);
      std::fill(values + (row - 1) * piece.cols + num_cols, values + row * piece.cols, 0.0F);
    }
  }
  check_finite(job, buffers);
  const Shape shape = {chunk.num_rows, piece.cols};
  buffers.encoded.resize(static_cast<std::size_t>(storage_bytes(shape, job.dtype, job.layout)));
  encode_into(buffers.values, shape, job.dtype, job.layout, buffers.encoded);
}

}  // namespace meshseek

/// How a mesh cuts a dimension: stage 1 cuts weights by it, stage 2 expects the pieces, stage 3 finds its own.
#pragma once
#include <cstdint>

#include "mesh/mesh_shape.hpp"
#include "tensor/shape.hpp"

namespace meshseek {

/// Size of each of `count` equal pieces of `size`, in whole units. The pieces follow each other; what lies beyond `size` is padding. One piece
/// has none.
constexpr std::int64_t piece_size(std::int64_t size, std::int64_t unit, std::int64_t count) {
  return count == 1 ? size : ceil_div(ceil_div(size, unit), count) * unit;
}

/// What each column of the mesh has of `size` values: whole tiles, or whole units of another size (heads).
constexpr std::int64_t column_piece(std::int64_t size, const MeshShape& mesh, std::int64_t unit = kTileSize) {
  return piece_size(size, unit, mesh.cols);
}

/// Tokens of one sequence that each row of the mesh has, but for the last ones, which may have fewer.
constexpr std::int64_t row_piece(std::int64_t num_tokens, const MeshShape& mesh) { return ceil_div(num_tokens, mesh.rows); }

/// Whether each column has a part of every expert (of its inner width), and not some of the experts whole. On one row: all columns have all tokens,
/// so parts cost no message more, and no choice of the router gives a column more to do than the others.
constexpr bool cuts_experts(const MeshShape& mesh) { return mesh.rows == 1 && mesh.cols > 1; }

/// Experts that each device has room for: all, in parts, or whole ones, which are dealt to all devices in runs, row by row of the mesh.
constexpr std::int64_t experts_per_device(std::int64_t num_experts, const MeshShape& mesh) {
  return cuts_experts(mesh) ? num_experts : piece_size(num_experts, 1, mesh.rows * mesh.cols);
}

/// What each device has of an expert's inner width.
constexpr std::int64_t expert_inner(std::int64_t inner_size, const MeshShape& mesh) {
  return cuts_experts(mesh) ? column_piece(inner_size, mesh) : inner_size;
}

}  // namespace meshseek

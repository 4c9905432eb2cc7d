/// Attention in the latent space: all heads share the cached rows, which are keys and, in their first part, values.
#pragma once
#include <cstdint>
#include <span>

#include "mesh/device.hpp"
#include "ops/cpu/rows.hpp"

namespace meshseek::cpu {

/// Query rows over the latent cache of one sequence.
struct LatentProblem {
  RowReader cache;                             ///< [S, width]
  std::int64_t num_tokens = 0;                 ///< S
  std::int64_t width = 0;                      ///< of a cached row: latent and rotated key
  std::int64_t rank = 0;                       ///< the latent part, which is the value
  std::span<const float> queries = {};         ///< [R, stride], zero beyond width
  std::int64_t stride = 0;                     ///< a multiple of 16
  std::span<const std::int64_t> visible = {};  ///< [R]: how many of the first tokens each row sees, at least 1
  float scale = 1.0F;
  bool on_tiles = false;  ///< cpu/tile_attention.hpp

  std::int64_t num_rows() const { return static_cast<std::int64_t>(visible.size()); }
};

/// softmax(scale q k^T) k[:rank] for every row of every sequence; width, rank and stride are the same for all. A context is cut into pieces at fixed places;
/// each cached row is read once for scores and values of all query rows, and the pieces are merged in their order: neither timing nor the number of threads
/// changes a bit, nor do other query rows or other sequences.
/// \param results [R of all problems, rank rounded up to 16], rows one after the other
void attend_latent(std::span<const LatentProblem> problems, std::span<float> results, Device& device);

}  // namespace meshseek::cpu

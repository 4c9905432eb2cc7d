/// What becomes one tensor file: which rows of the source, in which format, cut for which mesh. A plan; nothing is read until encode_chunk().
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "hf/tensor_source.hpp"
#include "mesh/mesh_shape.hpp"
#include "tensor/tensor_file.hpp"

namespace meshseek {

/// Raised whenever the same source rows give other bytes.
inline constexpr std::int64_t kTransformVersion = 1;

/// How a weight is cut for the devices of a mesh; rows and columns that are not named hold copies.
struct WeightSplit {
  enum class Over : std::uint8_t {
    none,     ///< every device holds all of it
    cols,     ///< over the columns of the mesh
    devices,  ///< over all devices, row by row of the mesh
  };
  Over over = Over::none;
  std::int64_t dim = 0;   ///< dimension of the tensor, from the front
  std::int64_t unit = 1;  ///< stays together: rows of a head, of a tile
};

/// The devices of a range of ranks, row by row of the mesh; count 0: all of them.
struct LocalRanks {
  std::int64_t first = 0;
  std::int64_t count = 0;
  bool contains(std::int64_t rank) const { return count == 0 || (rank >= first && rank < first + count); }
};

struct WeightJob {
  std::string path = {};  ///< below the store
  Shape shape = {};       ///< of the whole tensor
  DataType dtype = DataType::bfloat8_b;
  Layout layout = Layout::tile;
  MeshShape mesh = {};
  WeightSplit split = {};
  LocalRanks local = {};
  WeightRows source = {};  ///< together the rows of the tensor
};

/// Equal pieces of a tensor. Piece p covers [p * shape[dim], (p + 1) * shape[dim]) of the split dimension; what lies beyond the tensor is zero.
struct WeightPieces {
  Shape shape = {};                              ///< of one piece, padded
  std::vector<std::int64_t> pieces = {};         ///< that the file holds
  std::vector<std::int64_t> ranks = {};          ///< that the file serves
  std::vector<std::size_t> buffer_of_rank = {};  ///< index into `pieces` for each of `ranks`
};
WeightPieces pieces_of(const WeightJob& job);

/// Where a piece begins in the whole tensor, seen as a batch of matrices.
struct WeightOrigin {
  std::int64_t matrix = 0;
  std::int64_t row = 0;
  std::int64_t col = 0;
};
WeightOrigin origin_of(const WeightJob& job, const WeightPieces& pieces, std::int64_t piece);

/// TTNN's words for the split over mesh rows and columns: {"replicate", "shard(1)"}.
std::vector<std::string> placement_of(const WeightSplit& split);

/// The file's header and the place of each piece.
TensorFilePlan plan_file(const WeightJob& job, const WeightPieces& pieces);

/// Rows of one matrix of one piece: what one thread encodes at a time. Chunks follow each other in the file.
struct WeightChunk {
  std::size_t buffer_idx = 0;
  std::int64_t matrix_idx = 0;  ///< of the piece
  std::int64_t first_row = 0;   ///< a multiple of 32 in TILE layout
  std::int64_t num_rows = 0;
  std::uint64_t file_offset = 0;
};
/// \param max_values values of a chunk; one row of tiles is the least
std::vector<WeightChunk> chunks_of(const WeightJob& job, const WeightPieces& pieces, const TensorFilePlan& plan, std::int64_t max_values);
/// Values of the largest chunk that chunks_of() gives.
std::int64_t chunk_values(const WeightJob& job, const WeightPieces& pieces, std::int64_t max_values);

/// Memory of one thread, kept from chunk to chunk.
struct ChunkBuffers {
  std::vector<float> values = {};       ///< [num_rows, cols of the piece]
  std::vector<std::byte> encoded = {};  ///< as in the file
};
/// Reads and encodes one chunk. \throws Error naming tensor and element: unreadable source, NaN or infinity
void encode_chunk(const WeightJob& job, const WeightPieces& pieces, const WeightChunk& chunk, ChunkBuffers& buffers);

}  // namespace meshseek

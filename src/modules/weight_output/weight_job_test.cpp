// How weights are cut for a mesh, and that the pieces are the tensor.
#include "modules/weight_output/weight_job.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "base/error.hpp"
#include "modules/weight_output/weight_output.hpp"
#include "modules/weight_output/weight_writer.hpp"
#include "tensor/tensor.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// Values that bfloat16 holds exactly: 1, 2, 3, .. modulo 251.
class CountingSource : public TensorSource {
 public:
  explicit CountingSource(std::int64_t cols) : cols_(cols) {}
  bool contains(std::string_view) const override { return true; }
  void check(std::string_view, const Shape&) const override {}
  void read(std::string_view, const MatrixPart& part, std::span<float> out) const override {
    for (std::int64_t row = 0; row < part.num_rows; ++row) {
      for (std::int64_t col = 0; col < part.num_cols; ++col) {
        const std::int64_t idx = (part.first_row + row) * cols_ + part.first_col + col;
        out[static_cast<std::size_t>(row * part.num_cols + col)] = static_cast<float>(1 + idx % 251);
      }
    }
  }
  std::string identity(std::string_view name, Trust) const override { return std::string(name); }
  std::string file_of(std::string_view) const override { return "memory"; }

 private:
  std::int64_t cols_;
};

float expected_value(std::int64_t idx) { return static_cast<float>(1 + idx % 251); }

WeightJob job(const TensorSource& source, Shape shape, MeshShape mesh, WeightSplit split, Layout layout = Layout::tile) {
  const std::int64_t rows = shape.size() < 2 ? 1 : volume(shape) / shape.back();
  return {.path = "w.tensorbin",
          .shape = std::move(shape),
          .dtype = DataType::bfloat16,
          .layout = layout,
          .mesh = mesh,
          .split = split,
          .source = {&source, {{"w", 0, rows}}}};
}

Shape piece_shape(Shape shape, MeshShape mesh, WeightSplit split) {
  const CountingSource source(shape.back());
  return pieces_of(job(source, std::move(shape), mesh, split)).shape;
}

TEST(WeightPieces, UnevenSplitsOfV3ShapesArePaddedToUnits) {
  const WeightSplit experts = {.over = WeightSplit::Over::devices, .dim = 0};
  for (const std::int64_t ranks : {3, 5, 6}) {
    const MeshShape mesh = {1, ranks};
    const auto padded = [ranks](std::int64_t units) { return (units + ranks - 1) / ranks; };
    EXPECT_THAT(piece_shape({128 * 192, 1536}, mesh, split_outputs(192)), ElementsAre(padded(128) * 192, 1536)) << "wq_b, whole heads";
    EXPECT_THAT(piece_shape({128, 128, 512}, mesh, split_outputs(1)), ElementsAre(padded(128), 128, 512)) << "wkv_b1";
    EXPECT_THAT(piece_shape({7168, 128 * 128}, mesh, split_inputs(128)), ElementsAre(7168, padded(128) * 128)) << "wo";
    EXPECT_THAT(piece_shape({18432, 7168}, mesh, split_outputs()), ElementsAre(padded(576) * 32, 7168)) << "w1, whole tiles";
    EXPECT_THAT(piece_shape({7168, 18432}, mesh, split_inputs()), ElementsAre(7168, padded(576) * 32)) << "w2";
    EXPECT_THAT(piece_shape({256, 2048, 7168}, mesh, experts), ElementsAre(padded(256), 2048, 7168));
    EXPECT_THAT(piece_shape({129280, 7168}, mesh, split_outputs()), ElementsAre(padded(4040) * 32, 7168)) << "head";
  }
  EXPECT_THAT(piece_shape({256, 2048, 7168}, {4, 8}, experts), ElementsAre(8, 2048, 7168)) << "all devices";
  EXPECT_THAT(piece_shape({18432, 7168}, {4, 8}, split_outputs()), ElementsAre(2304, 7168)) << "columns only";
}

TEST(WeightPieces, RanksOfARangeGetTheirOwnPiecesOnly) {
  const CountingSource source(32);
  WeightJob split = job(source, {64, 32}, {2, 2}, split_outputs());
  WeightPieces pieces = pieces_of(split);
  EXPECT_THAT(pieces.pieces, ElementsAre(0, 1));
  EXPECT_THAT(pieces.ranks, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(pieces.buffer_of_rank, ElementsAre(0U, 1U, 0U, 1U)) << "rows of the mesh hold copies";
  split.local = {.first = 3, .count = 1};
  pieces = pieces_of(split);
  EXPECT_THAT(pieces.pieces, ElementsAre(1));
  EXPECT_THAT(pieces.ranks, ElementsAre(3));
  EXPECT_THAT(pieces.buffer_of_rank, ElementsAre(0U));
}

/// Writes a job and puts the pieces of the file together again.
void expect_pieces_are_the_tensor(const WeightJob& weight, ThreadTeam& team, std::int64_t memory_limit) {
  const TemporaryFolder folder;
  write_weights(std::span(&weight, 1), folder.path(), team, {.memory_limit = memory_limit});
  const TensorFile file(folder.path() / weight.path);
  const WeightPieces pieces = pieces_of(weight);
  const Shape& piece = pieces.shape;
  const std::int64_t cols = weight.shape.back();
  const std::int64_t rows = weight.shape.size() < 2 ? 1 : weight.shape[weight.shape.size() - 2];
  const std::int64_t piece_rows = piece.size() < 2 ? 1 : piece[piece.size() - 2];
  std::int64_t found = 0;
  for (std::size_t shard = 0; shard < pieces.ranks.size(); ++shard) {
    const WeightOrigin origin = origin_of(weight, pieces, pieces.pieces[pieces.buffer_of_rank[shard]]);
    const auto values = to_float_vector(file.shard(shard));
    for (std::int64_t idx = 0; idx < static_cast<std::int64_t>(values.size()); ++idx) {
      const std::int64_t col = idx % piece.back() + origin.col;
      const std::int64_t row = idx / piece.back() % piece_rows + origin.row;
      const std::int64_t matrix = idx / piece.back() / piece_rows + origin.matrix;
      const bool is_padding = col >= cols || row >= rows || matrix * rows * cols >= volume(weight.shape);
      const float expected = is_padding ? 0.0F : expected_value((matrix * rows + row) * cols + col);
      ASSERT_EQ(values[static_cast<std::size_t>(idx)], expected) << weight.path << " shard " << shard << " value " << idx;
      found += is_padding ? 0 : 1;
    }
  }
  EXPECT_GE(found, volume(weight.shape));
}

TEST(WeightWriter, PiecesPutTogetherAreTheTensorWhateverTheCut) {
  ThreadTeam team(3);
  const WeightSplit experts = {.over = WeightSplit::Over::devices, .dim = 0};
  for (const MeshShape mesh : {MeshShape{1, 1}, MeshShape{1, 2}, MeshShape{1, 3}, MeshShape{2, 2}, MeshShape{1, 5}, MeshShape{3, 2}}) {
    SCOPED_TRACE(to_string(mesh));
    for (const std::int64_t memory_limit : {0, 200'000}) {
      const CountingSource wide(200);
      expect_pieces_are_the_tensor(job(wide, {330, 200}, mesh, split_outputs()), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {330, 200}, mesh, split_inputs()), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {330, 200}, mesh, split_inputs(50)), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {5, 33, 200}, mesh, experts), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {5, 33, 200}, mesh, split_outputs(1)), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {3, 70, 200}, mesh, {WeightSplit::Over::cols, 1, kTileSize}), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {3, 70, 200}, mesh, {WeightSplit::Over::cols, 2, kTileSize}), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {330, 200}, mesh, split_inputs(), Layout::row_major), team, memory_limit);
      expect_pieces_are_the_tensor(job(wide, {200}, mesh, {}, Layout::row_major), team, memory_limit);
    }
  }
}

TEST(WeightWriter, BytesDoNotDependOnThreadsOrMemory) {
  const CountingSource source(512);
  const WeightJob weight = job(source, {3000, 512}, {1, 3}, split_outputs());
  std::string sha256;
  for (const std::size_t num_threads : {1, 2, 5}) {
    for (const std::int64_t memory_limit : {0, 250'000, 1'000'000}) {
      const TemporaryFolder folder;
      ThreadTeam team(num_threads);
      WeightWriterOptions options = {.memory_limit = memory_limit};
      options.on_file = [&](std::size_t, WrittenFile file) {
        if (sha256.empty()) sha256 = file.sha256;
        EXPECT_EQ(file.sha256, sha256) << num_threads << " threads, " << memory_limit;
      };
      write_weights(std::span(&weight, 1), folder.path(), team, options);
    }
  }
}

TEST(WeightWriter, MemoryBelowWhatOneThreadNeedsIsRefused) {
  const CountingSource source(1000);
  const WeightJob weight = job(source, {64, 1000}, {}, {});
  const TemporaryFolder folder;
  ThreadTeam team(2);
  EXPECT_THAT([&] { write_weights(std::span(&weight, 1), folder.path(), team, {.memory_limit = 100'000}); },
              ThrowsMessage<Error>(HasSubstr("100000 bytes of memory are not enough")));
}

}  // namespace
}  // namespace meshseek

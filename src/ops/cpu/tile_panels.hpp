/// Activations and weights of products on tiles (cpu/tile_kernels.hpp).
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <optional>
#include <span>
#include <vector>

#include "mesh/device.hpp"
#include "ops/common_config.hpp"
#include "ops/cpu/aligned_buffer.hpp"
#include "ops/cpu/rows.hpp"
#include "ops/cpu/tile_kernels.hpp"
#include "ops/cpu/weight_block.hpp"

namespace meshseek::cpu {

/// The form of panels in which this machine multiplies a kind of product; none where the fidelity, the order or the type of the weight has no such product.
std::optional<PanelForm> panel_form(MathFidelity fidelity, bool transpose_b, DataType weight_dtype);

/// The rows of x that meet matrices of a stack on tiles, coded and packed once per product: 32 at a time, int8 or int16 (LoFi), bf16 or int16 (HiFi2).
class TilePanels {
 public:
  /// \param groups one per matrix; those with fewer than `fewest_rows` rows are left out
  TilePanels(const Tensor& x, std::int64_t cols, PanelForm form, std::span<const RowGroup> groups, std::int64_t fewest_rows,
             Device& device);

  PanelForm form() const { return form_; }
  /// Whether the rows of this matrix are here.
  bool serves(std::int64_t matrix_idx) const { return first_tiles_[static_cast<std::size_t>(matrix_idx)] >= 0; }
  /// Rows from `row` (a multiple of 32) of the matrix's group on, and values of k from `k` (a multiple of kTileChunk): fills in all that is of x.
  void put(TileProduct& product, std::int64_t matrix_idx, std::int64_t row, std::int64_t k) const;

 private:
  /// Thirty-two rows of a group or fewer.
  struct Panel {
    const RowGroup* group = nullptr;
    std::int64_t row = 0;
    std::int64_t first_tile = 0;  ///< tiles of 16 rows before it
  };
  std::vector<Panel> place(std::span<const RowGroup> groups, std::int64_t fewest_rows);
  void fill(const Panel& panel, const RowReader& reader, std::int64_t cols) const;
  /// Whether a panel of so many rows is packed; else its rows lie one after the other.
  bool is_packed(std::int64_t num_rows) const;
  void code(const float* values, std::int64_t count, std::uint8_t* out, float* scales) const;

  PanelForm form_;
  std::int64_t num_steps_;                      ///< of 64 bytes
  std::int64_t num_scales_;                     ///< of a row; bf16 has none
  std::vector<std::int64_t> first_tiles_ = {};  ///< of each group; -1: left out
  std::vector<std::int64_t> counts_ = {};
  std::int64_t num_tiles_ = 0;
  std::shared_ptr<std::uint8_t> values_;  ///< [tiles of 16 rows, num_steps, 1024], those of a panel interleaved; or its rows
  std::shared_ptr<float> scales_;         ///< [tiles of 16 rows, num_scales, 32]: a panel's with its first tile
};

/// Outputs of one matrix decoded into tiles, a block of k at a time.
class TileSlab {
 public:
  /// Room for `outputs` (a multiple of 32) times `k` values (a multiple of kTileChunk).
  TileSlab(const WeightMatrix& weight, PanelForm form, std::int64_t outputs, std::int64_t k, std::pmr::memory_resource& memory);

  void decode(std::int64_t matrix_idx, std::int64_t output, std::int64_t count, WeightMatrix::Columns k);
  /// Fills in all that is of w, and num_steps.
  void put(TileProduct& product) const;

 private:
  const WeightMatrix* weight_;
  PanelForm form_;
  std::int64_t num_pairs_ = 0;
  std::int64_t num_steps_ = 0;
  AlignedBuffer<std::uint8_t> values_;
  AlignedBuffer<float> scales_;
};

}  // namespace meshseek::cpu

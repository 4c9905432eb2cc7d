/// How the hidden size lies over the columns of a mesh.
#pragma once
#include <optional>

#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "ops/collectives_config.hpp"
#include "ops/linear_config.hpp"

namespace meshseek {

/// Column c has values [c * piece, (c + 1) * piece) of each token, piece = column_piece(hidden_size); beyond hidden_size they are zero. Modules
/// that need whole tokens gather them. A product whose inputs lie over the columns is cut in one of two ways: along its inputs, each column's product
/// then being a term of a sum; or along its outputs (deterministic), which takes all inputs but has the bits of one device. It has no weights.
/// Source: Megatron-LM, arXiv:1909.08053, 3.
class ColumnSplit {
 public:
  struct Config {
    std::optional<AllGatherConfig> all_gather = {};
    std::optional<ReduceScatterConfig> reduce_scatter = {};
    std::optional<AllGatherConfig> gather_inner = {};

    static constexpr auto fields() {
      return std::tuple{field("all_gather", &Config::all_gather, "whole tokens of the columns' pieces; deterministic: they come whole"),
                        field("reduce_scatter", &Config::reduce_scatter, "sums the columns' terms; each keeps its piece"),
                        field("gather_inner", &Config::gather_inner,
                              "deterministic: inner values of all columns, for the outputs of w2 that a column has")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  ColumnSplit(const HfConfig& hf, const MeshDevice& mesh);

  /// \param x [T, piece], or whole where cfg is unset  \return [T, hidden_size], the same bits on all columns
  Tensor whole(const Tensor& x, const std::optional<AllGatherConfig>& cfg) const;
  /// This column's piece of what all columns have. \param x [T, hidden_size]  \return [T, piece]
  Tensor piece(const Tensor& x) const;
  /// This column's term of x W^T + bias: the first column adds the bias. \param x [T, in of this column]  \return [T, out]
  Tensor term(const Tensor& x, const LinearConfig& cfg) const;
  /// \param term [T, hidden_size] of this column  \return [T, piece] of the sum over the columns
  Tensor sum(const Tensor& term, const ReduceScatterConfig& cfg) const;

  /// x W^T + bias, the same on all columns: `join` is set where W is cut along its outputs, else `add` sums the columns' terms.
  /// \param x [T, piece], for `join` [T, in]; \param out outputs of the whole W  \return [T, out]
  Tensor product(const Tensor& x, const LinearConfig& linear, std::int64_t out, const std::optional<AllReduceConfig>& add,
                 const std::optional<AllGatherConfig>& join) const;
  /// What a product takes whose inputs lie over the columns: x, or, where W is cut along its outputs and `gather` is set, the inputs of all columns.
  /// \param x [T, in of this column]; \param linear one W or a stack of them  \return [T, in of W]
  Tensor inputs(const Tensor& x, const LinearConfig& linear, const std::optional<AllGatherConfig>& gather) const;
  /// This column's piece of x W^T + bias: `gather` is set where W is cut along its outputs, else `add` sums the columns' terms.
  /// \param x [T, in of this column]  \return [T, piece]
  Tensor product_piece(const Tensor& x, const LinearConfig& linear, const std::optional<ReduceScatterConfig>& add,
                       const std::optional<AllGatherConfig>& gather) const;
  /// Rows of results, a piece of each to every column. \param rows [R, hidden_size] of this column
  /// \return [rows of all columns, piece], column by column
  Tensor rows_of_columns(const Tensor& rows, const AllToAllRowsConfig& cfg) const;

 private:
  Tensor padded(const Tensor& x) const;

  std::int64_t cols_;
  std::int64_t hidden_size_;
  std::int64_t padded_size_;  ///< pieces of all columns
};

}  // namespace meshseek

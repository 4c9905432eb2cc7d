/// How the hidden size lies over the columns of a mesh.
#pragma once
#include "hf/hf_config.hpp"
#include "mesh/mesh_device.hpp"
#include "ops/collectives_config.hpp"
#include "ops/linear_config.hpp"

namespace meshseek {

/// Column c has values [c * piece, (c + 1) * piece) of each token, piece = column_piece(hidden_size); beyond hidden_size they are zero. Modules
/// that need whole tokens gather them; products with a part of the inputs are terms of a sum. It has no weights.
/// Source: Megatron-LM, arXiv:1909.08053, 3.
class ColumnSplit {
 public:
  struct Config {
    AllGatherConfig all_gather = {};
    ReduceScatterConfig reduce_scatter = {};

    static constexpr auto fields() {
      return std::tuple{field("all_gather", &Config::all_gather, "whole tokens of the columns' pieces"),
                        field("reduce_scatter", &Config::reduce_scatter, "sums the columns' terms; each keeps its piece")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  ColumnSplit(const HfConfig& hf, const MeshDevice& mesh);

  /// \param x [T, piece]  \return [T, hidden_size], the same bits on all columns
  Tensor whole(const Tensor& x, const AllGatherConfig& cfg) const;
  /// This column's term of x W^T + bias: the first column adds the bias. \param x [T, in of this column]  \return [T, out]
  Tensor term(const Tensor& x, const LinearConfig& cfg) const;
  /// \param term [T, hidden_size] of this column  \return [T, piece] of the sum over the columns
  Tensor sum(const Tensor& term, const ReduceScatterConfig& cfg) const;

 private:
  std::int64_t hidden_size_;
  std::int64_t padded_size_;  ///< pieces of all columns
};

}  // namespace meshseek

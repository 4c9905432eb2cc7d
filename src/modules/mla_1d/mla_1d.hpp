/// Multi-head latent attention with the heads over the columns of a mesh of one row.
#pragma once
#include <optional>

#include "modules/column_split/column_split.hpp"
#include "modules/mla/mla.hpp"

namespace meshseek {

/// Every column computes its heads, and caches the latents of all tokens, because its heads need them. The weights are Mla's: projections of
/// the hidden state (wq_a, wkv_a) and of the heads' values (wo) are terms of sums over the columns; deterministic: they take all inputs, and each
/// column has its outputs.
class Mla1d {
 public:
  struct Config {
    std::optional<AllGatherConfig> all_gather = {};  ///< without q_lora_rank: wq takes whole tokens
    std::optional<AllReduceConfig> all_reduce = {};
    std::optional<ReduceScatterConfig> reduce_scatter = {};
    std::optional<AllGatherConfig> gather_outputs = {};  ///< deterministic
    std::optional<AllGatherConfig> gather_heads = {};    ///< deterministic

    static constexpr auto fields() {
      return std::tuple{
          field("all_gather", &Config::all_gather, "whole tokens for wq, without q_lora_rank"),
          field("all_reduce", &Config::all_reduce, "sums the columns' terms of wq_a and of wkv_a"),
          field("reduce_scatter", &Config::reduce_scatter, "sums the columns' terms of wo; each keeps its piece"),
          field("gather_outputs", &Config::gather_outputs, "deterministic: the columns' outputs of wq_a and of wkv_a"),
          field("gather_heads", &Config::gather_heads, "deterministic: values of all heads, for the outputs of wo that a column has")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Mla1d(const HfConfig& hf, const MeshDevice& mesh);
  /// As Mla::forward(). \param x [T, piece of hidden_size], deterministic [T, hidden_size]; \param mla of this column's heads  \return [T, piece of hidden_size]
  Tensor forward(const Tensor& x, const Mla::Config& mla, const Config& cfg, const RopeTables& tables, LatentCaches caches) const;

 private:
  std::int64_t q_lora_rank_;
  std::int64_t kv_dim_;  ///< r + dr
  ColumnSplit columns_;
  Mla mla_;
};

}  // namespace meshseek

/// Multi-head latent attention on a mesh of several rows.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "modules/column_split/column_split.hpp"
#include "modules/mla/mla.hpp"
#include "ops/concat_config.hpp"

namespace meshseek {

/// Each sequence has one device that keeps its latents. Projections are those of Mla1d: heads over the columns.
///
/// absorbed (decode): a row has its users' tokens. For the attention users are shared out to the columns: a column gives away its heads' queries
/// of the other columns' users, gets all heads of its own, reads their caches, and gives the results back.
/// naive (prefill): a row has its run of one sequence's tokens. The latents of all rows are gathered, those of earlier calls come from the
/// owner, and each device attends with its queries and its heads. Source: tt-metal's deepseek_v3, MLA2D.
class Mla2d {
 public:
  struct Config {
    std::optional<AllGatherConfig> all_gather = {};  ///< without q_lora_rank: wq takes whole tokens
    std::optional<AllReduceConfig> all_reduce = {};
    AllToAllRowsConfig heads_to_users = {};  ///< absorbed
    ConcatConfig concat = {};
    AllToAllRowsConfig users_to_heads = {};  ///< absorbed
    AllGatherConfig gather_latents = {};     ///< naive
    BroadcastConfig broadcast_past = {};     ///< naive
    std::optional<ReduceScatterConfig> reduce_scatter = {};
    std::optional<AllGatherConfig> gather_outputs = {};  ///< deterministic
    std::optional<AllGatherConfig> gather_heads = {};    ///< deterministic

    static constexpr auto fields() {
      return std::tuple{
          field("all_gather", &Config::all_gather, "whole tokens for wq, without q_lora_rank"),
          field("all_reduce", &Config::all_reduce, "sums the columns' terms of wq_a and of wkv_a"),
          field("heads_to_users", &Config::heads_to_users, "absorbed: queries to the columns that keep their users' caches"),
          field("concat", &Config::concat, "absorbed: both parts of a query"),
          field("users_to_heads", &Config::users_to_heads, "absorbed: the heads' results back to their columns"),
          field("gather_latents", &Config::gather_latents, "naive: latents of all rows' tokens"),
          field("broadcast_past", &Config::broadcast_past, "naive: cached latents; the root is their owner"),
          field("reduce_scatter", &Config::reduce_scatter, "sums the columns' terms of wo; each keeps its piece"),
          field("gather_outputs", &Config::gather_outputs, "deterministic: the columns' outputs of wq_a and of wkv_a"),
          field("gather_heads", &Config::gather_heads, "deterministic: values of all heads, for the outputs of wo that a column has")};
    }
  };

  static Config prefill_model_config(const HfConfig& hf, const MeshDevice& mesh);
  static Config decode_model_config(const HfConfig& hf, const MeshDevice& mesh);
  Mla2d(const HfConfig& hf, const MeshDevice& mesh);
  /// \param x [T, piece of hidden_size] of this row's tokens, deterministic [T, hidden_size]; \param caches of the row's sequences (absorbed), of the one sequence (naive)
  ///               each token over rows as the form wants it: users (absorbed), sequence (naive), see RowSplit
  /// \return  [T, piece of hidden_size]. Only owners' caches grow.
  Tensor forward(const Tensor& x, const Mla::Config& mla, const Config& cfg, const RopeTables& tables, LatentCaches caches) const;

 private:
  Tensor attend_users(const Tensor& q, const Mla::Latents& latents, const Mla::Config& mla, const Config& cfg, LatentCaches caches) const;
  Tensor attend_sequence(const Tensor& q, const Mla::Latents& latents, const Mla::Config& mla, const Config& cfg, LatentCache& cache) const;
  LatentCache with_past(LatentCache& cache, const Tensor& latents, const Mla::Config& mla, const Config& cfg) const;

  MeshShape mesh_;
  std::int64_t num_heads_;  ///< of a column
  std::int64_t nope_dim_;
  std::int64_t rope_dim_;
  std::int64_t v_dim_;
  std::int64_t kv_lora_rank_;
  std::int64_t q_lora_rank_;
  ColumnSplit columns_;
  Mla mla_;
};

}  // namespace meshseek

#include "cli/mesh_traffic.hpp"

#include <algorithm>

#include "mesh/shards.hpp"
#include "ops/collectives.hpp"

namespace meshseek::cli {
namespace {

constexpr double kBf16 = 2.0;
constexpr double kFp32 = 4.0;
constexpr double kCount = 8.0;    ///< how many rows will come, of `uneven` and `all_to_all_rows`
constexpr double kHeader = 88.0;  ///< what `send` says of a tensor first

/// Adds up the collectives along one axis of the mesh.
class Axis {
 public:
  Axis(std::vector<Collective>& all, int axis, std::int64_t num_devices) : all_(all), axis_(axis), others_(real(num_devices - 1)) {}

  void all_gather(double calls, double own_values, double value_bytes) {
    add("all_gather", calls, 1.0, others_ * own_values * value_bytes);
  }
  /// Sizes go first.
  void uneven_all_gather(double calls, double own_values, double value_bytes) {
    add("all_gather", calls, 2.0, others_ * (kCount + own_values * value_bytes));
  }
  void reduce_scatter(double calls, double values) { add("reduce_scatter", calls, 1.0, others_ / (others_ + 1.0) * values * kFp32); }
  void all_reduce(double calls, double values) {
    if (values * kFp32 <= real(kMostWholeBytes)) return add("all_reduce", calls, 1.0, others_ * values * kFp32);
    add("all_reduce", calls, 2.0, 2.0 * others_ / (others_ + 1.0) * values * kFp32);
  }
  void all_to_all(double calls, double values_for_each) { add("all_to_all", calls, 1.0, others_ * values_for_each * kFp32); }
  /// How many rows goes first. \param bytes of the rows that leave the device
  void all_to_all_rows(double calls, double bytes) { add("all_to_all_rows", calls, bytes > 0.0 ? 2.0 : 1.0, others_ * kCount + bytes); }

 private:
  void add(std::string_view op, double calls, double rounds, double bytes) {
    if (calls > 0.0 && others_ > 0.0)
      all_.push_back({.op = op, .axis = axis_, .calls = calls, .rounds = rounds, .messages = rounds * others_, .bytes = bytes});
  }

  std::vector<Collective>& all_;
  int axis_;
  double others_;  ///< devices but this one
};

class Counter {
 public:
  Counter(const HfConfig& hf, const MeshShape& mesh, bool deterministic, const Pipeline::Stage& stage, const PassTokens& tokens)
      : hf_(hf),
        mesh_(mesh),
        joins_outputs_(deterministic && mesh.cols > 1),
        stage_(stage),
        tokens_(tokens),
        piece_(real(column_piece(hf.hidden_size, mesh))),
        rows_(collectives_, 0, mesh.rows),
        cols_(collectives_, 1, mesh.cols) {}

  std::vector<Collective> count() {
    const std::int64_t num_layers = hf_.num_hidden_layers;
    for (std::int64_t layer = stage_.first_layer; layer < stage_.end_layer; ++layer) {
      add_norm(real(tokens_.of_row));
      add_attention(real(tokens_.of_row));
      const double of_ffn = real(layer + 1 == num_layers ? tokens_.ends : tokens_.of_row);
      add_norm(of_ffn);
      hf_.is_moe_layer(layer) ? add_moe(of_ffn) : add_mlp(of_ffn);
    }
    if (stage_.is_last) add_head(real(tokens_.ends));
    return std::move(collectives_);
  }

 private:
  void add_norm(double tokens) {
    if (joins_outputs_)
      cols_.all_gather(1.0, tokens * piece_, kFp32);
    else
      cols_.all_gather(1.0, tokens, kFp32);  // sums of squares
  }

  /// Of tokens that the norm has left in pieces.
  void add_whole_tokens(double tokens) {
    if (!joins_outputs_) cols_.all_gather(1.0, tokens * piece_, kBf16);
  }

  /// A product whose inputs lie over the columns, and whose outputs all need.
  void add_product(double tokens, std::int64_t outputs) {
    if (joins_outputs_)
      cols_.all_gather(1.0, tokens * real(column_piece(outputs, mesh_)), kBf16);
    else
      cols_.all_reduce(1.0, tokens * real(outputs));
  }

  /// The same where each needs its piece of hidden_size. \param inputs of one column
  void add_product_piece(double tokens, std::int64_t inputs) {
    if (joins_outputs_)
      cols_.all_gather(1.0, tokens * real(inputs), kBf16);
    else
      cols_.reduce_scatter(1.0, tokens * real(mesh_.cols) * piece_);
  }

  void add_attention(double tokens) {
    const std::int64_t heads = column_piece(hf_.num_attention_heads, mesh_, 1);
    add_product(tokens, hf_.kv_lora_rank + hf_.qk_rope_head_dim);
    if (hf_.q_lora_rank > 0)
      add_product(tokens, hf_.q_lora_rank);
    else
      add_whole_tokens(tokens);
    if (mesh_.rows > 1) tokens_.decode ? add_users(tokens, real(heads)) : add_latents(tokens);
    add_product_piece(tokens, heads * hf_.v_head_dim);
  }

  /// Queries to the columns that have their users' caches, and results back; users are dealt to the columns in turn.
  void add_users(double tokens, double heads) {
    const auto num_users = static_cast<std::int64_t>(tokens);
    const double stay = real(num_users / mesh_.cols);
    const double own = real(ceil_div(num_users, mesh_.cols));
    cols_.all_to_all_rows(1.0, (tokens - stay) * heads * real(hf_.kv_lora_rank + hf_.qk_rope_head_dim) * kBf16);
    cols_.all_to_all_rows(1.0, own * real(mesh_.cols - 1) * heads * real(hf_.kv_lora_rank) * kBf16);
  }

  void add_latents(double tokens) {
    rows_.uneven_all_gather(1.0, tokens * real(hf_.kv_lora_rank), kBf16);
    const bool is_sum = mesh_.cols > 1 && !joins_outputs_;
    rows_.uneven_all_gather(1.0, tokens * real(hf_.qk_rope_head_dim), is_sum ? kFp32 : kBf16);
  }

  void add_mlp(double tokens) {
    add_whole_tokens(tokens);
    add_product_piece(tokens, column_piece(hf_.intermediate_size, mesh_));
  }

  void add_moe(double tokens) {
    const double chosen = tokens * real(hf_.num_experts_per_tok) / real(mesh_.cols);  // rows of a column's experts
    const double away = chosen * real(mesh_.rows - 1) / real(mesh_.rows);
    add_whole_tokens(tokens);
    rows_.all_to_all(1.0, real(experts_per_device(hf_.n_routed_experts, mesh_)));
    rows_.all_to_all_rows(2.0, away * real(hf_.hidden_size) * kBf16);
    if (!joins_outputs_) return cols_.reduce_scatter(1.0, tokens * real(mesh_.cols) * piece_);
    if (cuts_experts(mesh_))
      cols_.all_gather(1.0, tokens * real(hf_.num_experts_per_tok * expert_inner(hf_.moe_intermediate_size, mesh_)), kBf16);
    else
      cols_.all_to_all_rows(1.0, real(mesh_.cols - 1) * chosen * piece_ * kBf16);
    if (hf_.n_shared_experts > 0) add_product_piece(tokens, column_piece(hf_.moe_intermediate_size * hf_.n_shared_experts, mesh_));
  }

  void add_head(double tokens) {
    add_norm(tokens);
    add_whole_tokens(tokens);
    cols_.all_gather(1.0, tokens * real(column_piece(hf_.vocab_size, mesh_)), kFp32);
    rows_.all_to_all_rows(1.0, real(tokens_.ends_of_others) * real(hf_.vocab_size) * kFp32);
  }

  const HfConfig& hf_;
  MeshShape mesh_;
  bool joins_outputs_;
  Pipeline::Stage stage_;
  PassTokens tokens_;
  double piece_;  ///< of hidden_size
  std::vector<Collective> collectives_;
  Axis rows_;
  Axis cols_;
};

}  // namespace

std::vector<Collective> collectives_of_pass(const HfConfig& hf, const MeshShape& mesh, bool deterministic, const Pipeline::Stage& stage,
                                            const PassTokens& tokens) {
  return Counter(hf, mesh, deterministic, stage, tokens).count();
}

Collective hop(std::int64_t num_tokens, std::int64_t num_values) {
  return {.op = "send", .axis = 0, .messages = 2.0, .bytes = kHeader + real(num_tokens * num_values) * kFp32};
}

}  // namespace meshseek::cli

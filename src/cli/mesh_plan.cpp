#include "cli/mesh_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "cli/mesh_traffic.hpp"
#include "mesh/shards.hpp"
#include "modules/pipeline/pipeline.hpp"
#include "ops/cpu/tile_kernels.hpp"

namespace meshseek::cli {
namespace {

using cpu::PanelForm;

constexpr double kCacheBytes = 2.0;     ///< bfloat16
constexpr double kBfloat16Bytes = 2.0;  ///< of a value of embedding, norms, router

double bytes_per_value(DataType dtype) {
  switch (dtype) {
    case DataType::bfloat4_b:
      return 0.5625;
    case DataType::bfloat8_b:
      return 1.0625;
    case DataType::bfloat16:
      return 2.0;
    default:
      return 4.0;
  }
}

/// Weights of one device, in values of one layer.
struct LayerWeights {
  double attention = 0.0;  ///< projections, without the expansion of latents
  double expansion = 0.0;  ///< wkv_b1, wkv_b2
  double dense = 0.0;      ///< dense feed-forward block
  double shared = 0.0;     ///< shared experts
  double expert = 0.0;     ///< one routed expert, or the column's part of it
};

double devices_per_host(const MeshPlanInput& input) { return real(ceil_div(input.mesh.num_devices(), input.hosts)); }

/// What goes to the first device of each of several takes the latency; each further message keeps the sender for a while.
double latency(const LinkRates& link, double rounds, double messages) {
  return rounds * link.latency_s + std::max(0.0, messages - rounds) * link.message_s;
}

/// \param size devices of the axis  \param together those of them that share a host, and its link
double seconds(const MeshPlanInput& input, const AxisTraffic& axis, double size, double together) {
  if (axis.messages == 0.0) return 0.0;
  if (together >= size) return axis.bytes / input.local.bytes_s + latency(input.local, axis.rounds, axis.messages);
  const double leaving = devices_per_host(input) * (size - together) / (size - 1.0);
  return axis.bytes * leaving / input.link.bytes_s + latency(input.link, axis.rounds, axis.messages);
}

/// The first device tells every other one what to do: kind, ids, slots.
double command_seconds(const MeshPlanInput& input) {
  constexpr double kMessages = 3.0;
  const double others = real(input.mesh.num_devices() - 1);
  return others == 0.0 ? 0.0 : latency(input.hosts > 1 ? input.link : input.local, 1.0, kMessages * others);
}

/// How many tokens a layer's parts see in one pass.
struct LayerTokens {
  std::int64_t all = 0;  ///< of all rows
  std::int64_t row = 0;  ///< of the row that has most
};

/// What the devices that share layers do: all of the mesh, or one row of a pipeline with a part of the layers.
class Planner {
 public:
  Planner(const MeshPlanInput& input, const Pipeline::Stage& stage)
      : in_(input),
        hf_(input.hf),
        stage_(stage),
        cut_(weight_mesh(input.mesh, input.plan)),
        hidden_(real(hf_.hidden_size)),
        latent_(real(hf_.kv_lora_rank + hf_.qk_rope_head_dim)),
        heads_(real(column_piece(hf_.num_attention_heads, cut_, 1))),
        value_bytes_(bytes_per_value(input.dtype)) {
    for (std::int64_t layer = stage.first_layer; layer < stage.end_layer; ++layer)
      ++(hf_.is_moe_layer(layer) ? moe_layers_ : dense_layers_);
    const double v_dim = real(hf_.v_head_dim);
    const double qk_dim = real(hf_.qk_head_dim());
    const double own = real(column_piece(hf_.hidden_size, cut_));
    const double q_rank = real(hf_.q_lora_rank);
    weights_.attention =
        (q_rank > 0.0 ? q_rank * own + heads_ * qk_dim * q_rank : heads_ * qk_dim * hidden_) + latent_ * own + heads_ * v_dim * hidden_;
    weights_.expansion = heads_ * (real(hf_.qk_nope_head_dim) + v_dim) * real(hf_.kv_lora_rank);
    weights_.dense = 3.0 * hidden_ * real(column_piece(hf_.intermediate_size, cut_));
    weights_.shared =
        hf_.n_shared_experts == 0 ? 0.0 : 3.0 * hidden_ * real(column_piece(hf_.moe_intermediate_size * hf_.n_shared_experts, cut_));
    weights_.expert = 3.0 * hidden_ * real(expert_inner(hf_.moe_intermediate_size, cut_));
  }

  double layers() const { return dense_layers_ + moe_layers_; }
  double cache_row() const { return latent_ * kCacheBytes * layers(); }
  /// Sequences whose caches lie on the busiest device.
  double cached_sequences() const {
    const std::int64_t per_row = ceil_div(in_.batch, cut_.rows);
    return real(cut_.rows > 1 ? ceil_div(per_row, cut_.cols) : per_row);
  }
  double held_bytes() const {
    const double experts = real(experts_per_device(hf_.n_routed_experts, cut_));
    const double embedding = !stage_.is_first ? 0.0 : real(hf_.vocab_size * column_piece(hf_.hidden_size, cut_)) * kBfloat16Bytes;
    return embedding + fixed_bytes() + moe_layers_ * experts * weights_.expert * value_bytes_;
  }

  /// \param tokens of the whole pass; \param depth tokens in the cache of each sequence
  PassPlan pass(std::int64_t tokens, double depth, bool decode) const {
    const LayerTokens all = {.all = tokens, .row = ceil_div(tokens, cut_.rows)};
    const LayerTokens last = decode ? all : LayerTokens{.all = 1, .row = 1};  // of a prompt only the last token goes on
    const double visited = experts_visited(tokens);
    const double visited_last = experts_visited(last.all);
    PassPlan plan = {.read_bytes = fixed_bytes() + cached_sequences() * depth * cache_row()};
    add_attention(plan, all, depth, decode);
    add_products(plan, real(last.row) * head_values(), decode ? PanelForm::int8 : PanelForm::int16);
    for (std::int64_t layer = stage_.first_layer; layer < stage_.end_layer; ++layer) {
      const bool is_last = layer + 1 == hf_.num_hidden_layers;
      const LayerTokens& now = is_last ? last : all;
      if (!hf_.is_moe_layer(layer)) {
        add_products(plan, real(now.row) * weights_.dense, PanelForm::int8);
        continue;
      }
      plan.read_bytes += (is_last ? visited_last : visited) * weights_.expert * value_bytes_;
      const double routed = real(now.all * hf_.num_experts_per_tok) / real(expert_owners());
      add_products(plan, real(now.row) * weights_.shared + routed * weights_.expert, PanelForm::int8);
    }
    add_traffic(
        plan, {.decode = decode, .of_row = all.row, .ends = last.row, .ends_of_others = decode ? std::min(all.row, all.all - all.row) : 1});
    plan.read_s = plan.read_bytes / (in_.host.read_bytes_s / devices_per_host(in_) * in_.memory_share);
    const double compute_rate = in_.compute_share / devices_per_host(in_);
    const double int16_s = plan.int16_flop > 0.0 ? plan.int16_flop / in_.host.int16_op_s : 0.0;
    plan.compute_s = (plan.bf16_flop / in_.host.bf16_flop_s + int16_s + plan.int8_flop / in_.host.int8_op_s) / compute_rate;
    return plan;
  }

 private:
  /// All that every pass reads.
  double fixed_bytes() const {
    const double values = layers() * (weights_.attention + weights_.expansion) + dense_layers_ * weights_.dense +
                          moe_layers_ * weights_.shared + head_values();
    const double norms = 2.0 * layers() + (stage_.is_last ? 1.0 : 0.0);
    const double whole = moe_layers_ * real(hf_.n_routed_experts) * hidden_ + norms * hidden_;
    return values * value_bytes_ + whole * kBfloat16Bytes;
  }

  double head_values() const { return stage_.is_last ? real(column_piece(hf_.vocab_size, cut_)) * hidden_ : 0.0; }

  /// Distinct experts of a layer that a pass visits on the busiest device, when each token draws its experts evenly.
  double experts_visited(std::int64_t tokens) const {
    if (moe_layers_ == 0.0) return 0.0;
    const double experts = real(hf_.n_routed_experts);
    const double all = experts * (1.0 - std::pow(1.0 - real(hf_.num_experts_per_tok) / experts, real(tokens)));
    return busiest_experts(std::llround(all), experts_per_device(hf_.n_routed_experts, cut_), expert_owners());
  }

  /// Devices that share out whole experts.
  std::int64_t expert_owners() const { return cuts_experts(cut_) ? 1 : cut_.num_devices(); }

  /// \param form what block floats would be multiplied as; other weights, and int16 where the hosts have none, are bf16
  void add_products(PassPlan& plan, double count, PanelForm form) const {
    if (!is_block_float(in_.dtype) || (form == PanelForm::int16 && in_.host.int16_op_s == 0.0)) form = PanelForm::bf16;
    (form == PanelForm::int8 ? plan.int8_flop : form == PanelForm::int16 ? plan.int16_flop : plan.bf16_flop) += 2.0 * count;
  }

  /// Projections, expansion of latents, and pairs of tokens, of all layers.
  void add_attention(PassPlan& plan, const LayerTokens& tokens, double depth, bool decode) const {
    const double own = real(tokens.row);
    const double absorbed = real(2 * hf_.kv_lora_rank + hf_.qk_rope_head_dim);
    const double naive = real(hf_.qk_head_dim() + hf_.v_head_dim);
    const double pairs = heads_ * own * (decode ? depth * absorbed : (depth + real(tokens.all) / 2.0) * naive);
    const double expanded = decode ? own : depth + real(tokens.all);  // a prompt's latents are expanded on every row
    add_products(plan, layers() * own * weights_.attention, decode ? PanelForm::int8 : PanelForm::int16);
    add_products(plan, layers() * expanded * weights_.expansion, decode ? PanelForm::bf16 : PanelForm::int16);
    add_products(plan, layers() * pairs, PanelForm::bf16);
  }

  void add_traffic(PassPlan& plan, const PassTokens& tokens) const {
    std::vector<Collective> all = collectives_of_pass(hf_, cut_, in_.deterministic, stage_, tokens);
    if (in_.mesh.rows > cut_.rows)
      all.push_back(stage_.is_last ? hop(tokens.ends, hf_.vocab_size) : hop(tokens.of_row, column_piece(hf_.hidden_size, cut_)));
    for (const Collective& one : all) {
      AxisTraffic& axis = one.axis == 0 ? plan.over_rows : plan.over_cols;
      axis.bytes += one.calls * one.bytes;
      axis.messages += one.calls * one.messages;
      axis.rounds += one.calls * one.rounds;
    }
    const double per_host = devices_per_host(in_);
    const double cols = real(in_.mesh.cols);
    plan.link_s = seconds(in_, plan.over_cols, cols, std::min(cols, per_host)) +
                  seconds(in_, plan.over_rows, real(in_.mesh.rows), std::max(1.0, std::floor(per_host / cols)));
  }

  const MeshPlanInput& in_;
  const HfConfig& hf_;
  Pipeline::Stage stage_;
  MeshShape cut_;  ///< of the devices that share a layer
  double hidden_;
  double latent_;
  double heads_;  ///< of one device
  double value_bytes_;
  double dense_layers_ = 0.0;
  double moe_layers_ = 0.0;
  LayerWeights weights_;
};

/// How a pass goes over the rows of a mesh.
struct Way {
  std::vector<Pipeline::Stage> stages = {};  ///< of a pipeline's rows; without one all rows have all
  std::int64_t prompt_chunks = 1;            ///< that follow each other through the rows
};

Way way_of(const MeshPlanInput& input) {
  if (input.plan == ParallelPlan::users || input.mesh.rows == 1) return {.stages = {{.end_layer = input.hf.num_hidden_layers}}};
  const MeshDevice mesh = {.shape = input.mesh, .device = {}};
  const Pipeline pipeline(input.hf, mesh);
  const Pipeline::Config config = Pipeline::prefill_model_config(input.hf, mesh);
  Way way = {.prompt_chunks = ceil_div(input.prompt, config.chunk_tokens)};
  for (std::int64_t row = 0; row < input.mesh.rows; ++row) way.stages.push_back(pipeline.stage(config, row));
  return way;
}

AxisTraffic busier(const AxisTraffic& a, const AxisTraffic& b) { return a.bytes < b.bytes ? b : a; }

AxisTraffic operator*(double count, const AxisTraffic& traffic) {
  return {.bytes = count * traffic.bytes, .messages = count * traffic.messages, .rounds = count * traffic.rounds};
}

/// Chunks that follow each other from row to row: the busiest row sets the pace. \param rows a chunk's pass on each \param tokens of all chunks
/// \param start_s until all devices know what to do
PassPlan through(std::span<const PassPlan> rows, double chunks, double tokens, double start_s) {
  PassPlan all = {.link_s = start_s};
  double first = start_s;  // seconds until the first chunk is through
  double pace = 0.0;
  for (const PassPlan& row : rows) {
    all.read_bytes += chunks * row.read_bytes;
    all.bf16_flop += chunks * row.bf16_flop;
    all.int16_flop += chunks * row.int16_flop;
    all.int8_flop += chunks * row.int8_flop;
    all.over_rows = busier(all.over_rows, chunks * row.over_rows);
    all.over_cols = busier(all.over_cols, chunks * row.over_cols);
    all.read_s += chunks * row.read_s;
    all.compute_s += chunks * row.compute_s;
    all.link_s += chunks * row.link_s;
    const double seconds = std::max(row.read_s, row.compute_s) + row.link_s;
    first += seconds;
    pace = std::max(pace, seconds);
  }
  all.tok_s = tokens / (first + (chunks - 1.0) * pace);
  return all;
}

/// C(n, 0), .., C(n, most)
std::vector<double> binomials(std::int64_t n, std::int64_t most) {
  std::vector<double> row = {1.0};
  for (std::int64_t k = 1; k <= most; ++k) row.push_back(row.back() * real(n - k + 1) / real(k));
  return row;
}

/// In how many ways `drawn` experts may be chosen so that no device has more than `most` of them.
double ways(std::int64_t drawn, std::int64_t per_device, std::int64_t num_devices, std::int64_t most) {
  const std::vector<double> of_one = binomials(per_device, most);
  std::vector<double> ways(static_cast<std::size_t>(drawn + 1));  // by the number of experts on the devices so far
  ways.front() = 1.0;
  for (std::int64_t device = 0; device < num_devices; ++device) {
    for (std::size_t sum = ways.size(); sum-- > 0;) {
      double total = 0.0;
      for (std::size_t own = 0; own < of_one.size() && own <= sum; ++own) total += of_one[own] * ways[sum - own];
      ways[sum] = total;
    }
  }
  return ways.back();
}

}  // namespace

double busiest_experts(std::int64_t drawn, std::int64_t per_device, std::int64_t num_devices) {
  if (num_devices == 1) return real(drawn);
  const double all = binomials(per_device * num_devices, drawn).back();
  double expected = 0.0;  // sum of the chances that it has more than 0, 1, 2 ..
  for (std::int64_t most = 0; most < std::min(drawn, per_device); ++most)
    expected += std::max(0.0, 1.0 - ways(drawn, per_device, num_devices, most) / all);
  return expected;
}

MeshPlan plan_mesh(const MeshPlanInput& input) {
  if (input.hosts < 1 || input.hosts > input.mesh.num_devices()) {
    throw Error(
        fmt::format("[plan] {} hosts for {} devices; expected 1 to {}", input.hosts, input.mesh.num_devices(), input.mesh.num_devices()));
  }
  const double context = real(input.context);
  const Way way = way_of(input);
  const std::int64_t chunk = ceil_div(input.prompt, way.prompt_chunks);
  MeshPlan plan;
  std::vector<PassPlan> decode;
  std::vector<PassPlan> prefill;
  for (const Pipeline::Stage& stage : way.stages) {
    const Planner planner(input, stage);
    plan.weight_bytes = std::max(plan.weight_bytes, planner.held_bytes());
    plan.cache_bytes = std::max(plan.cache_bytes, planner.cached_sequences() * context * planner.cache_row());
    decode.push_back(planner.pass(input.batch, context, true));
    prefill.push_back(planner.pass(chunk, real(input.prompt - chunk) / 2.0, false));
  }
  plan.decode = through(decode, 1.0, real(input.batch), command_seconds(input));
  plan.prefill = through(prefill, real(way.prompt_chunks), real(input.prompt), command_seconds(input));
  return plan;
}

}  // namespace meshseek::cli

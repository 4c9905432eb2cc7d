#include "cli/mesh_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "config/fields.hpp"
#include "modules/pipeline/pipeline.hpp"

namespace meshseek::cli {
namespace {

constexpr double kWireBytes = 2.0;   ///< bfloat16
constexpr double kCacheBytes = 2.0;  ///< bfloat16
constexpr double kSumBytes = 4.0;    ///< float32: sums of squares, logits
constexpr double kWordBytes = 2.0;   ///< bfloat16: embedding, norms, router
constexpr std::int64_t kTileSide = 32;

std::int64_t divide_up(std::int64_t count, std::int64_t parts) { return (count + parts - 1) / parts; }
/// A device's part of a dimension that is cut into units of 32.
double part(std::int64_t size, std::int64_t parts) { return static_cast<double>(divide_up(divide_up(size, kTileSide), parts) * kTileSide); }

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
  double expert = 0.0;     ///< one routed expert
};

/// What the devices that share layers do: all of the mesh, or one row of a pipeline with a part of the layers.
class Planner {
 public:
  Planner(const MeshPlanInput& input, const Pipeline::Stage& stage)
      : in_(input),
        hf_(input.hf),
        stage_(stage),
        cut_(weight_mesh(input.mesh, input.plan)),
        rows_(static_cast<double>(cut_.rows)),
        cols_(static_cast<double>(cut_.cols)),
        hidden_(static_cast<double>(hf_.hidden_size)),
        latent_(static_cast<double>(hf_.kv_lora_rank + hf_.qk_rope_head_dim)),
        heads_(static_cast<double>(divide_up(hf_.num_attention_heads, input.mesh.cols))),
        value_bytes_(bytes_per_value(input.dtype)) {
    for (std::int64_t layer = stage.first_layer; layer < stage.end_layer; ++layer)
      ++(hf_.is_moe_layer(layer) ? moe_layers_ : dense_layers_);
    const auto v_dim = static_cast<double>(hf_.v_head_dim);
    const auto qk_dim = static_cast<double>(hf_.qk_head_dim());
    const auto rank = static_cast<double>(hf_.kv_lora_rank);
    const double own = part(hf_.hidden_size, in_.mesh.cols);
    const auto q_rank = static_cast<double>(hf_.q_lora_rank);
    weights_.attention =
        (q_rank > 0.0 ? q_rank * own + heads_ * qk_dim * q_rank : heads_ * qk_dim * hidden_) + latent_ * own + heads_ * v_dim * hidden_;
    weights_.expansion = heads_ * (static_cast<double>(hf_.qk_nope_head_dim) + v_dim) * rank;
    weights_.dense = 3.0 * hidden_ * part(hf_.intermediate_size, in_.mesh.cols);
    weights_.shared =
        hf_.n_shared_experts == 0 ? 0.0 : 3.0 * hidden_ * part(hf_.moe_intermediate_size * hf_.n_shared_experts, in_.mesh.cols);
    weights_.expert = 3.0 * hidden_ * static_cast<double>(hf_.moe_intermediate_size);
  }

  double layers() const { return dense_layers_ + moe_layers_; }
  double cache_row() const { return latent_ * kCacheBytes * layers(); }
  /// Sequences whose caches lie on the busiest device.
  double cached_sequences() const {
    const std::int64_t per_row = divide_up(in_.batch, cut_.rows);
    return static_cast<double>(cut_.rows > 1 ? divide_up(per_row, cut_.cols) : per_row);
  }
  double held_bytes() const {
    const auto experts = static_cast<double>(divide_up(hf_.n_routed_experts, cut_.num_devices()));
    const double embedding =
        !stage_.is_first ? 0.0 : static_cast<double>(hf_.vocab_size) * part(hf_.hidden_size, in_.mesh.cols) * kWordBytes;
    return embedding + fixed_bytes() + moe_layers_ * experts * weights_.expert * value_bytes_;
  }

  /// \param tokens of the whole pass; \param depth tokens in the cache of each sequence
  PassPlan pass(double tokens, double depth, bool decode) const {
    const double own = std::ceil(tokens / rows_);  // tokens of a row
    PassPlan plan;
    const double touched = experts_touched(tokens);
    plan.read_bytes = fixed_bytes() + moe_layers_ * touched * weights_.expert * value_bytes_ + cached_sequences() * depth * cache_row();
    const double routed = tokens * static_cast<double>(hf_.num_experts_per_tok) / (rows_ * cols_);
    plan.int8_flop =
        2.0 * (own * (dense_layers_ * weights_.dense + moe_layers_ * weights_.shared) + moe_layers_ * routed * weights_.expert);
    const double last = decode ? own : 1.0;
    const double head = last * head_values();
    const double expanded = decode ? own : depth + tokens;  // a prompt's latents are expanded on every row
    plan.fp32_flop =
        2.0 * (head + layers() * (own * weights_.attention + expanded * weights_.expansion + pairs(own, tokens, depth, decode)));
    add_column_traffic(plan.over_cols, own, decode);
    add_row_traffic(plan.over_rows, own, decode);
    if (in_.mesh.rows > cut_.rows) add_hop(plan.over_rows, own, last);
    plan.read_s = plan.read_bytes / (in_.host.read_bytes_s / devices_per_host() * in_.memory_share);
    const double compute_rate = in_.compute_share / devices_per_host();
    plan.compute_s = plan.fp32_flop / (in_.host.fp32_flop_s * compute_rate) + plan.int8_flop / (in_.host.int8_op_s * compute_rate);
    const bool cols_leave = in_.mesh.cols > static_cast<std::int64_t>(devices_per_host());
    plan.link_s = seconds(plan.over_cols, cols_leave ? in_.link : in_.local, 1.0) +
                  seconds(plan.over_rows, in_.hosts > 1 ? in_.link : in_.local, in_.hosts > 1 ? devices_per_host() : 1.0);
    return plan;
  }

 private:
  double devices_per_host() const { return static_cast<double>(divide_up(in_.mesh.num_devices(), in_.hosts)); }

  /// All that every pass reads.
  double fixed_bytes() const {
    const double values = layers() * (weights_.attention + weights_.expansion) + dense_layers_ * weights_.dense +
                          moe_layers_ * weights_.shared + head_values();
    const double whole = moe_layers_ * static_cast<double>(hf_.n_routed_experts) * hidden_ + num_norms() * hidden_;
    return values * value_bytes_ + whole * kWordBytes;
  }

  double head_values() const { return stage_.is_last ? part(hf_.vocab_size, cut_.cols) * hidden_ : 0.0; }
  double num_norms() const { return 2.0 * layers() + (stage_.is_last ? 1.0 : 0.0); }

  /// Distinct experts of a layer that a pass visits on one device, when each token draws its experts evenly.
  double experts_touched(double tokens) const {
    if (hf_.n_routed_experts == 0) return 0.0;
    const auto experts = static_cast<double>(hf_.n_routed_experts);
    const double all = experts * (1.0 - std::pow(1.0 - static_cast<double>(hf_.num_experts_per_tok) / experts, tokens));
    return std::max(all / (rows_ * cols_), std::min(1.0, all));
  }

  /// Multiplications of attention in one layer.
  double pairs(double own, double tokens, double depth, bool decode) const {
    const double absorbed = static_cast<double>(2 * hf_.kv_lora_rank + hf_.qk_rope_head_dim);
    if (decode) return own * depth * heads_ * absorbed;
    return own * (depth + tokens / 2.0) * heads_ * static_cast<double>(hf_.qk_head_dim() + hf_.v_head_dim);
  }

  void gather(AxisTraffic& axis, double times, double values, double value_bytes = kWireBytes) const {
    axis.bytes += times * (cols_ - 1.0) / cols_ * values * value_bytes;
    axis.steps += times * (cols_ - 1.0);
  }

  /// A reduce_scatter sends as much as an all_gather of the result; an all_reduce is one after the other.
  void add_column_traffic(AxisTraffic& axis, double own, bool decode) const {
    if (cut_.cols == 1) return;
    gather(axis, num_norms(), own * cols_, kSumBytes);  // sums of squares
    gather(axis, layers(), own * hidden_);              // wo
    gather(axis, 2.0 * layers(), own * hidden_);        // feed-forward block, in and out
    if (hf_.q_lora_rank == 0)
      gather(axis, layers(), own * hidden_);
    else
      gather(axis, 2.0 * layers(), own * static_cast<double>(hf_.q_lora_rank));
    gather(axis, 2.0 * layers(), own * latent_);
    const double last = decode ? own : 1.0;
    const double heads = stage_.is_last ? 1.0 : 0.0;
    gather(axis, heads, last * hidden_);
    gather(axis, heads, last * static_cast<double>(hf_.vocab_size), kSumBytes);
    if (!decode || cut_.rows == 1) return;
    axis.bytes += layers() * (cols_ - 1.0) / cols_ * own * heads_ * (latent_ + static_cast<double>(hf_.kv_lora_rank)) * kWireBytes;
    axis.steps += 2.0 * layers();  // heads to users and back
  }

  void add_row_traffic(AxisTraffic& axis, double own, bool decode) const {
    if (cut_.rows == 1) return;
    const double away = (rows_ - 1.0) / rows_;
    const double visits = own * static_cast<double>(hf_.num_experts_per_tok) / cols_ * away;
    axis.bytes += moe_layers_ * 2.0 * visits * hidden_ * kWireBytes;
    axis.steps += moe_layers_ * 3.0;  // how many, the rows, and back
    if (decode) return;
    axis.bytes += layers() * (rows_ - 1.0) * own * latent_ * kWireBytes;  // latents of the other rows
    axis.steps += layers() * (rows_ - 1.0);
  }

  /// The residual stream to the next row of a pipeline; from the last one logits to the first.
  void add_hop(AxisTraffic& axis, double own, double last) const {
    axis.bytes += kSumBytes * (stage_.is_last ? last * static_cast<double>(hf_.vocab_size) : own * part(hf_.hidden_size, cut_.cols));
    axis.steps += 1.0;
  }

  static double seconds(const AxisTraffic& axis, const LinkRates& link, double sharing) {
    if (axis.steps == 0.0) return 0.0;
    return axis.bytes * sharing / link.bytes_s + axis.steps * link.latency_s;
  }

  const MeshPlanInput& in_;
  const HfConfig& hf_;
  Pipeline::Stage stage_;
  MeshShape cut_;  ///< of the devices that share a layer
  double rows_;
  double cols_;
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
  double prompt_chunks = 1.0;                ///< that follow each other through the rows
};

Way way_of(const MeshPlanInput& input) {
  if (input.plan == ParallelPlan::users || input.mesh.rows == 1) return {.stages = {{.end_layer = input.hf.num_hidden_layers}}};
  const MeshDevice mesh = {.shape = input.mesh, .device = {}};
  const Pipeline pipeline(input.hf, mesh);
  const Pipeline::Config config = Pipeline::prefill_model_config(input.hf, mesh);
  Way way = {.prompt_chunks = static_cast<double>(divide_up(input.prompt, config.chunk_tokens))};
  for (std::int64_t row = 0; row < input.mesh.rows; ++row) way.stages.push_back(pipeline.stage(config, row));
  return way;
}

AxisTraffic busier(const AxisTraffic& a, const AxisTraffic& b) { return a.bytes < b.bytes ? b : a; }

AxisTraffic operator*(double count, const AxisTraffic& traffic) { return {.bytes = count * traffic.bytes, .steps = count * traffic.steps}; }

/// Chunks that follow each other from row to row: the busiest row sets the pace. \param rows a chunk's pass on each \param tokens of all chunks
PassPlan through(std::span<const PassPlan> rows, double chunks, double tokens) {
  PassPlan all;
  double first = 0.0;  // seconds until the first chunk is through
  double pace = 0.0;
  for (const PassPlan& row : rows) {
    all.read_bytes += chunks * row.read_bytes;
    all.fp32_flop += chunks * row.fp32_flop;
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

Tree pass_tree(const PassPlan& pass, double tokens) {
  Tree tree;
  tree.set("tok_s", Tree(pass.tok_s));
  tree.set("read_bytes", Tree(pass.read_bytes));
  tree.set("flop", Tree(pass.fp32_flop + pass.int8_flop));
  tree.set("row_link_bytes_per_token", Tree(pass.over_rows.bytes / tokens));
  tree.set("col_link_bytes_per_token", Tree(pass.over_cols.bytes / tokens));
  tree.set("read_s", Tree(pass.read_s));
  tree.set("compute_s", Tree(pass.compute_s));
  tree.set("link_s", Tree(pass.link_s));
  return tree;
}

std::string pass_text(const char* name, const PassPlan& pass, double tokens) {
  return fmt::format(
      "{}: {:.2f} tok/s; a pass reads {:.2f} GB in {:.2f} ms, computes {:.3f} TFLOP in {:.2f} ms, waits {:.2f} ms for links\n"
      "  sent by a device, for each token: {:.1f} kB along its row, {:.1f} kB along its column\n",
      name, pass.tok_s, pass.read_bytes / 1e9, 1e3 * pass.read_s, (pass.fp32_flop + pass.int8_flop) / 1e12, 1e3 * pass.compute_s,
      1e3 * pass.link_s, pass.over_cols.bytes / tokens / 1e3, pass.over_rows.bytes / tokens / 1e3);
}

}  // namespace

MeshPlan plan_mesh(const MeshPlanInput& input) {
  if (input.hosts < 1 || input.hosts > input.mesh.num_devices()) {
    throw Error(
        fmt::format("[plan] {} hosts for {} devices; expected 1 to {}", input.hosts, input.mesh.num_devices(), input.mesh.num_devices()));
  }
  const auto context = static_cast<double>(input.context);
  const auto batch = static_cast<double>(input.batch);
  const auto prompt = static_cast<double>(input.prompt);
  const Way way = way_of(input);
  const double chunk = prompt / way.prompt_chunks;
  MeshPlan plan;
  std::vector<PassPlan> decode;
  std::vector<PassPlan> prefill;
  for (const Pipeline::Stage& stage : way.stages) {
    const Planner planner(input, stage);
    plan.weight_bytes = std::max(plan.weight_bytes, planner.held_bytes());
    plan.cache_bytes = std::max(plan.cache_bytes, planner.cached_sequences() * context * planner.cache_row());
    decode.push_back(planner.pass(batch, context, true));
    prefill.push_back(planner.pass(chunk, (prompt - chunk) / 2.0, false));
  }
  plan.decode = through(decode, 1.0, batch);
  plan.prefill = through(prefill, way.prompt_chunks, prompt);
  return plan;
}

Tree to_tree(const MeshPlanInput& input, const MeshPlan& plan) {
  Tree rates;
  rates.set("read_gb_s", Tree(input.host.read_bytes_s / 1e9));
  rates.set("fp32_tflop_s", Tree(input.host.fp32_flop_s / 1e12));
  rates.set("int8_top_s", Tree(input.host.int8_op_s / 1e12));
  rates.set("link_gbit_s", Tree(input.link.bytes_s * 8e-9));
  rates.set("link_latency_us", Tree(input.link.latency_s * 1e6));
  rates.set("local_gb_s", Tree(input.local.bytes_s / 1e9));
  rates.set("local_latency_us", Tree(input.local.latency_s * 1e6));
  Tree tree;
  tree.set("mesh", Tree(to_string(input.mesh)));
  tree.set("plan", Tree(std::string(enum_name(input.plan))));
  tree.set("hosts", Tree(input.hosts));
  tree.set("dtype", Tree(to_string(input.dtype)));
  tree.set("ctx", Tree(input.context));
  tree.set("batch", Tree(input.batch));
  tree.set("prompt", Tree(input.prompt));
  tree.set("rates", std::move(rates));
  tree.set("weight_bytes", Tree(plan.weight_bytes));
  tree.set("cache_bytes", Tree(plan.cache_bytes));
  tree.set("decode", pass_tree(plan.decode, static_cast<double>(input.batch)));
  tree.set("prefill", pass_tree(plan.prefill, static_cast<double>(input.prompt)));
  return tree;
}

std::string to_text(const MeshPlanInput& input, const MeshPlan& plan) {
  return fmt::format("mesh {} (plan {}) on {} host{}, {}, context {}, batch {}\n", to_string(input.mesh), enum_name(input.plan),
                     input.hosts, input.hosts == 1 ? "" : "s", to_string(input.dtype), input.context, input.batch) +
         fmt::format("a host reads {:.1f} GB/s and computes {:.2f} TFLOP/s float32, {:.2f} TOP/s int8; links {:.1f} Gbit/s, {:.1f} us\n",
                     input.host.read_bytes_s / 1e9, input.host.fp32_flop_s / 1e12, input.host.int8_op_s / 1e12,
                     (input.hosts > 1 ? input.link : input.local).bytes_s * 8e-9,
                     (input.hosts > 1 ? input.link : input.local).latency_s * 1e6) +
         fmt::format("a device holds {:.2f} GB of weights and {:.3f} GB of cache\n", plan.weight_bytes / 1e9, plan.cache_bytes / 1e9) +
         pass_text("decode", plan.decode, static_cast<double>(input.batch)) +
         pass_text("prefill", plan.prefill, static_cast<double>(input.prompt));
}

}  // namespace meshseek::cli

// What `plan` prints.
#include <fmt/format.h>

#include "cli/mesh_plan.hpp"
#include "config/fields.hpp"

namespace meshseek::cli {
namespace {

Tree pass_tree(const PassPlan& pass, double tokens) {
  Tree tree;
  tree.set("tok_s", Tree(pass.tok_s));
  tree.set("read_bytes", Tree(pass.read_bytes));
  tree.set("flop", Tree(pass.flop()));
  tree.set("row_link_bytes_per_token", Tree(pass.over_rows.bytes / tokens));
  tree.set("col_link_bytes_per_token", Tree(pass.over_cols.bytes / tokens));
  tree.set("rounds", Tree(pass.over_rows.rounds + pass.over_cols.rounds));
  tree.set("messages", Tree(pass.over_rows.messages + pass.over_cols.messages));
  tree.set("read_s", Tree(pass.read_s));
  tree.set("compute_s", Tree(pass.compute_s));
  tree.set("link_s", Tree(pass.link_s));
  return tree;
}

std::string pass_text(const char* name, const PassPlan& pass, double tokens) {
  return fmt::format(
      "{}: {:.2f} tok/s; a pass reads {:.2f} GB in {:.2f} ms, computes {:.3f} TFLOP in {:.2f} ms, waits {:.2f} ms for links\n"
      "  sent by a device, for each token: {:.1f} kB along its row, {:.1f} kB along its column\n",
      name, pass.tok_s, pass.read_bytes / 1e9, 1e3 * pass.read_s, pass.flop() / 1e12, 1e3 * pass.compute_s, 1e3 * pass.link_s,
      pass.over_cols.bytes / tokens / 1e3, pass.over_rows.bytes / tokens / 1e3);
}

}  // namespace

Tree to_tree(const MeshPlanInput& input, const MeshPlan& plan) {
  Tree rates;
  rates.set("read_gb_s", Tree(input.host.read_bytes_s / 1e9));
  rates.set("bf16_tflop_s", Tree(input.host.bf16_flop_s / 1e12));
  rates.set("int16_top_s", input.host.int16_op_s > 0.0 ? Tree(input.host.int16_op_s / 1e12) : Tree());
  rates.set("int8_top_s", Tree(input.host.int8_op_s / 1e12));
  rates.set("link_gbit_s", Tree(input.link.bytes_s * 8e-9));
  rates.set("link_latency_us", Tree(input.link.latency_s * 1e6));
  rates.set("link_message_us", Tree(input.link.message_s * 1e6));
  rates.set("local_gb_s", Tree(input.local.bytes_s / 1e9));
  rates.set("local_latency_us", Tree(input.local.latency_s * 1e6));
  rates.set("local_message_us", Tree(input.local.message_s * 1e6));
  rates.set("memory_share", Tree(input.memory_share));
  rates.set("compute_share", Tree(input.compute_share));
  Tree tree;
  tree.set("mesh", Tree(to_string(input.mesh)));
  tree.set("plan", Tree(std::string(enum_name(input.plan))));
  tree.set("deterministic", Tree(input.deterministic));
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
  const LinkRates& link = input.hosts > 1 ? input.link : input.local;
  return fmt::format("mesh {} (plan {}{}) on {} host{}, {}, context {}, batch {}\n", to_string(input.mesh), enum_name(input.plan),
                     input.deterministic ? ", deterministic" : "", input.hosts, input.hosts == 1 ? "" : "s", to_string(input.dtype),
                     input.context, input.batch) +
         fmt::format(
             "a host reads {:.1f} GB/s and computes {:.2f} TFLOP/s bf16, {:.2f} TOP/s int8; links {:.1f} Gbit/s, {:.1f} us, {:.1f} us "
             "between messages\n",
             input.host.read_bytes_s / 1e9, input.host.bf16_flop_s / 1e12, input.host.int8_op_s / 1e12, link.bytes_s * 8e-9,
             link.latency_s * 1e6, link.message_s * 1e6) +
         fmt::format("a device holds {:.2f} GB of weights and {:.3f} GB of cache\n", plan.weight_bytes / 1e9, plan.cache_bytes / 1e9) +
         pass_text("decode", plan.decode, static_cast<double>(input.batch)) +
         pass_text("prefill", plan.prefill, static_cast<double>(input.prompt));
}

}  // namespace meshseek::cli

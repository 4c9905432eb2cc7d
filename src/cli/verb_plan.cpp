#include <fmt/format.h>

#include <memory>
#include <optional>

#include "base/error.hpp"
#include "cli/flags.hpp"
#include "cli/link_rates.hpp"
#include "cli/measured_rates.hpp"
#include "cli/mesh_plan.hpp"
#include "cli/model_source.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "hf/published_models.hpp"
#include "mesh/mpi_mesh.hpp"

namespace meshseek::cli {
namespace {

struct PlanFlags {
  SourceFlags source = {};
  std::string synthetic = {};
  std::int64_t num_layers = 0;  ///< 0: all
  MeshPlanInput input = {};
  std::optional<std::int64_t> hosts = {};
  std::optional<double> link_gbit = {};
  std::optional<double> link_latency = {};  ///< microseconds
  std::optional<double> link_message = {};  ///< microseconds
  std::optional<double> read_gb = {};
  std::optional<double> bf16_tflop = {};
  std::optional<double> int16_top = {};
  std::optional<double> int8_top = {};
  DeviceFlags devices = {};
  bool json = false;
};

HfConfig shape_of(const PlanFlags& flags) {
  if (flags.source.model.empty() == flags.synthetic.empty()) throw UsageError("[plan] expected a MODEL or --synthetic NAME");
  if (flags.num_layers > 0 && flags.synthetic.empty())
    throw UsageError("[--num-layers] belongs to --synthetic; a model has the layers it has");
  if (flags.synthetic.empty()) return ModelSource({.model = flags.source.model}).hf_config();
  Tree config = published_config(flags.synthetic);
  if (flags.num_layers > 0) keep_first_layers(config, flags.num_layers);
  return parse_hf_config(to_json(config), flags.synthetic);
}

HostRates host_rates(const MachineRates& measured, bool deterministic) {
  return {.read_bytes_s = measured.read_bytes_s,
          .bf16_flop_s = deterministic ? measured.fp32_flop_s : measured.bf16_flop_s,
          .int16_op_s = deterministic ? 0.0 : measured.int16_op_s,
          .int8_op_s = measured.int8_op_s};
}

/// Whether rates of hosts must be measured.
bool needs_hosts(const PlanFlags& flags) { return !flags.read_gb || !flags.bf16_tflop || !flags.int8_top; }

/// All that a launcher's hosts can do is measured there.
void measure_on_hosts(MeshPlanInput& input, const PlanFlags& flags) {
  if (flags.hosts) throw UsageError("[--hosts] is what mpirun says; leave it out, or run plan without mpirun");
  const MeasuredRates measured = measure_mesh(input.mesh, flags.devices, needs_hosts(flags));
  input.hosts = measured.hosts;
  input.host = host_rates(measured.host, input.deterministic);
  input.link = measured.link;
  input.local = measured.local;
}

/// What is not given is measured on this machine: its own rates, and the link between devices of a process. Between hosts links must be given, for there may
/// be no second host yet.
void measure_here(MeshPlanInput& input, const PlanFlags& flags) {
  input.hosts = flags.hosts.value_or(1);
  if (input.hosts > 1 && (!flags.link_gbit || !flags.link_latency)) {
    throw UsageError(fmt::format(
        "[plan] {} hosts have links between them; give --link-gbit and --link-latency-us, or start it there with mpirun", input.hosts));
  }
  const std::int64_t on_host = ceil_div(input.mesh.num_devices(), input.hosts);
  if (on_host > 1) input.local = measure_local_link();
  if (needs_hosts(flags))
    input.host = host_rates(measure_host(flags.devices.num_threads * static_cast<std::size_t>(on_host)), input.deterministic);
}

/// What is given counts, measured or not.
void set_given_rates(MeshPlanInput& input, const PlanFlags& flags) {
  const auto set = [](double& rate, const std::optional<double>& given, double unit) {
    if (given) rate = *given * unit;
  };
  set(input.host.read_bytes_s, flags.read_gb, 1e9);
  set(input.host.bf16_flop_s, flags.bf16_tflop, 1e12);
  set(input.host.int16_op_s, flags.int16_top, 1e12);
  set(input.host.int8_op_s, flags.int8_top, 1e12);
  set(input.link.bytes_s, flags.link_gbit, 1e9 / 8.0);
  set(input.link.latency_s, flags.link_latency, 1e-6);
  set(input.link.message_s, flags.link_message, 1e-6);
}

void run_plan(const PlanFlags& flags) {
  MeshPlanInput input = flags.input;
  input.hf = shape_of(flags);
  input.mesh = mesh_value(flags.source.mesh);
  input.plan = plan_value(flags.source.plan);
  input.deterministic = flags.source.deterministic;
  input.dtype = dtype_value(flags.source.dtype).value_or(input.dtype);
  is_mpi_rank() ? measure_on_hosts(input, flags) : measure_here(input, flags);
  if (launched_rank() > 0) return;
  set_given_rates(input, flags);
  const MeshPlan plan = plan_mesh(input);
  print(flags.json ? to_json(to_tree(input, plan)) : to_text(input, plan));
}

void add_rate_flags(CLI::App& verb, PlanFlags& flags) {
  const auto add = [&](const char* name, auto& value, const char* help, const CLI::Validator& check) {
    verb.add_option(name, value, help)->type_name("N")->check(check);
  };
  add("--link-gbit", flags.link_gbit, "rate of a link between hosts, in one direction", CLI::PositiveNumber);
  add("--link-latency-us", flags.link_latency, "until two hosts have sent each other the smallest message", CLI::NonNegativeNumber);
  add("--link-message-us", flags.link_message,
      "of each further small message that goes at once, to another device or to the same (default 0)", CLI::NonNegativeNumber);
  add("--read-gb-s", flags.read_gb, "rate at which a host reads memory (default: measured)", CLI::PositiveNumber);
  add("--bf16-tflop-s", flags.bf16_tflop, "bf16 rate of a host, without AMX its float32 rate (default: measured)", CLI::PositiveNumber);
  add("--int16-top-s", flags.int16_top,
      "int16 rate of a host with AVX-512 VNNI and without AMX (default: measured; where all other rates are given: as bf16)",
      CLI::PositiveNumber);
  add("--int8-top-s", flags.int8_top, "int8 rate of a host (default: measured)", CLI::PositiveNumber);
  add("--memory-share", flags.input.memory_share, "part of the read rate that decode reaches, as bench shows it (default 0.8)",
      CLI::PositiveNumber);
  add("--compute-share", flags.input.compute_share, "part of the compute rates that prefill reaches, as bench shows it (default 0.5)",
      CLI::PositiveNumber);
}

}  // namespace

void add_plan(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<PlanFlags>();
  CLI::App* verb = app.add_subcommand("plan", "Predicts memory, traffic and speed of a mesh; needs no weights, only config.json");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder or store");
  verb->add_option("--synthetic", flags->synthetic, "a published shape instead: v2-lite, v2, v3, kimi-k2, moonlight")->type_name("NAME");
  verb->add_option("--num-layers", flags->num_layers, "with --synthetic: the first N layers (default: all)")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000));
  add_mesh_flags(*verb, flags->source);
  add_deterministic_flag(*verb, flags->source);
  verb->add_option("--hosts", flags->hosts,
                   "machines that the devices are on; neighbouring ranks share one (default 1, or those of mpirun)")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
  const auto add_count = [&](const char* name, std::int64_t& count, const char* help) {
    verb->add_option(name, count, help)->type_name("N")->check(CLI::Range(1, 1 << 24));
  };
  add_count("--ctx", flags->input.context, "tokens in the cache of each sequence (default 4096)");
  add_count("--batch", flags->input.batch, "sequences that are decoded at once (default 1)");
  add_count("--prompt", flags->input.prompt, "tokens of a prefill (default 512)");
  verb->add_option("--dtype", flags->source.dtype, "element type of the projections: bfloat8_b (default), bfloat4_b, bfloat16, float32")
      ->type_name("TYPE");
  add_rate_flags(*verb, *flags);
  add_device_flags(*verb, flags->devices);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek plan --synthetic v3 --mesh 2x8 --hosts 16 --link-gbit 100 --link-latency-us 10 --batch 32");
  verb->callback([flags, &action] { action = [flags] { run_plan(*flags); }; });
}

}  // namespace meshseek::cli

#include <fmt/format.h>

#include <memory>

#include "base/error.hpp"
#include "cli/calibration.hpp"
#include "cli/flags.hpp"
#include "cli/link_rates.hpp"
#include "cli/mesh_plan.hpp"
#include "cli/model_source.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "hf/published_models.hpp"

namespace meshseek::cli {
namespace {

struct PlanFlags {
  SourceFlags source = {};
  std::string synthetic = {};
  std::int64_t num_layers = 0;  ///< 0: all
  MeshPlanInput input = {};
  double link_gbit = 0.0;      ///< 0: not given
  double link_latency = -1.0;  ///< microseconds; negative: not given
  double read_gb = 0.0;        ///< 0: measured
  double fp32_tflop = 0.0;
  double int8_top = 0.0;
  std::size_t num_threads = 0;
  bool json = false;
};

/// Less than bench reads: a plan needs no second digit.
constexpr std::size_t kCalibrationBytes = std::size_t{512} << 20;

HfConfig shape_of(const PlanFlags& flags) {
  if (flags.source.model.empty() == flags.synthetic.empty()) throw UsageError("[plan] expected a MODEL or --synthetic NAME");
  if (flags.num_layers > 0 && flags.synthetic.empty())
    throw UsageError("[--num-layers] belongs to --synthetic; a model has the layers it has");
  if (flags.synthetic.empty()) return ModelSource({.model = flags.source.model}).hf_config();
  Tree config = published_config(flags.synthetic);
  if (flags.num_layers > 0) keep_first_layers(config, flags.num_layers);
  return parse_hf_config(to_json(config), flags.synthetic);
}

HostRates host_rates(const PlanFlags& flags) {
  HostRates rates = {.read_bytes_s = 1e9 * flags.read_gb, .fp32_flop_s = 1e12 * flags.fp32_tflop, .int8_op_s = 1e12 * flags.int8_top};
  if (rates.read_bytes_s > 0.0 && rates.fp32_flop_s > 0.0 && rates.int8_op_s > 0.0) return rates;
  ThreadTeam team(flags.num_threads);
  const MachineRates measured = Calibration(team, kCalibrationBytes).measure();
  if (flags.read_gb == 0.0) rates.read_bytes_s = measured.read_bytes_s;
  if (flags.fp32_tflop == 0.0) rates.fp32_flop_s = measured.fp32_flop_s;
  if (flags.int8_top == 0.0) rates.int8_op_s = measured.int8_op_s;
  return rates;
}

/// Measured between devices of a host; between hosts they are given, for there may be no second host yet.
void set_links(MeshPlanInput& input, const PlanFlags& flags) {
  if (input.hosts < input.mesh.num_devices()) input.local = measure_local_link();
  if (input.hosts == 1) return;
  if (flags.link_gbit == 0.0 || flags.link_latency < 0.0)
    throw UsageError(fmt::format("[plan] {} hosts have links between them; give --link-gbit and --link-latency-us", input.hosts));
  input.link = {.bytes_s = flags.link_gbit * 1e9 / 8.0, .latency_s = flags.link_latency * 1e-6};
}

void run_plan(const PlanFlags& flags) {
  MeshPlanInput input = flags.input;
  input.hf = shape_of(flags);
  input.mesh = mesh_value(flags.source.mesh);
  input.plan = plan_value(flags.source.plan);
  input.dtype = dtype_value(flags.source.dtype).value_or(input.dtype);
  set_links(input, flags);
  input.host = host_rates(flags);
  const MeshPlan plan = plan_mesh(input);
  print(flags.json ? to_json(to_tree(input, plan)) : to_text(input, plan));
}

void add_rate_flags(CLI::App& verb, PlanFlags& flags) {
  verb.add_option("--link-gbit", flags.link_gbit, "rate of a link between hosts, in one direction")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  verb.add_option("--link-latency-us", flags.link_latency, "time of the smallest message between hosts")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--read-gb-s", flags.read_gb, "rate at which a host reads memory (default: measured here)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  verb.add_option("--fp32-tflop-s", flags.fp32_tflop, "float32 rate of a host (default: measured here)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  verb.add_option("--int8-top-s", flags.int8_top, "int8 rate of a host (default: measured here)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
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
  verb->add_option("--hosts", flags->input.hosts, "machines that the devices are on; neighbouring ranks share one (default 1)")
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
  add_threads_flag(*verb, "--threads", flags->num_threads);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek plan --synthetic v3 --mesh 2x8 --hosts 16 --link-gbit 100 --link-latency-us 10 --batch 32");
  verb->callback([flags, &action] { action = [flags] { run_plan(*flags); }; });
}

}  // namespace meshseek::cli

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "cli/bench_collectives.hpp"
#include "cli/bench_convert.hpp"
#include "cli/bench_model.hpp"
#include "cli/bench_report.hpp"
#include "cli/engine.hpp"
#include "cli/flags.hpp"
#include "cli/mesh_session.hpp"
#include "cli/synthetic_store.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "ops/cpu/kernels.hpp"

namespace meshseek::cli {
namespace {

struct BenchFlags {
  std::string what = {};
  SourceFlags source = {};
  ConfigFlags config = {};
  std::string synthetic = {};
  std::int64_t num_layers = 0;  ///< 0: all
  std::vector<std::int64_t> prompts = {512};
  std::vector<std::int64_t> generated = {64};
  std::vector<std::int64_t> depths = {0};
  std::vector<std::int64_t> batches = {1};
  bool breakdown = false;
  std::uint64_t seed = 0;
  std::size_t calibration_megabytes = Calibration::kStandardBytes >> 20;
  std::string out = ".";
  std::int64_t megabytes = 1024;
  std::vector<std::int64_t> sizes = BenchCollectivesOptions{}.bytes;
  int num_reps = 3;
  DeviceFlags devices = {};
  bool json = false;
  bool markdown = false;
};

Tree rates_tree(const std::vector<double>& rates) {
  const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
  Tree tree;
  tree.set("median", Tree(median(rates)));
  tree.set("min", Tree(*least));
  tree.set("max", Tree(*most));
  return tree;
}

std::string rates_row(const char* name, const std::vector<double>& rates) {
  const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
  return fmt::format("{:<28} {:>9.1f} {:>9.1f} {:>9.1f}\n", name, median(rates) / 1e6, *least / 1e6, *most / 1e6);
}

void run_bench_convert(const BenchFlags& flags) {
  BenchConvertOptions options = {.folder = flags.out, .bytes = flags.megabytes << 20, .num_reps = flags.num_reps};
  options.dtype = dtype_value(flags.source.dtype).value_or(options.dtype);
  ThreadTeam team(flags.devices.num_threads);
  const BenchConvertResult result = bench_convert(options, team);
  const double limit = std::min(median(result.write_rate), median(result.memcpy_rate) / 3.0);
  const double share = median(result.convert_rate) / limit;
  if (flags.json) {
    Tree tree;
    tree.set("threads", Tree(static_cast<std::int64_t>(team.size())));
    tree.set("dtype", Tree(to_string(options.dtype)));
    tree.set("memcpy_bytes_per_s", rates_tree(result.memcpy_rate));
    tree.set("write_bytes_per_s", rates_tree(result.write_rate));
    tree.set("convert_bytes_per_s", rates_tree(result.convert_rate));
    tree.set("limit_bytes_per_s", Tree(limit));
    tree.set("share", Tree(share));
    return print(to_json(tree));
  }
  print(fmt::format("{:<28} {:>9} {:>9} {:>9}\n", "MB/s", "median", "min", "max"));
  print(rates_row("memcpy, all threads", result.memcpy_rate));
  print(rates_row("write and flush", result.write_rate));
  print(rates_row("convert and flush", result.convert_rate));
  print(fmt::format("limit: the smaller of write and memcpy / 3 = {:.1f} MB/s; share {:.2f}\n", limit / 1e6, share));
}

Tree tree_of(const CollectiveRow& row) {
  Tree tree;
  tree.set("op", Tree(row.op));
  tree.set("topology", Tree(std::string(enum_name(row.topology))));
  tree.set("bytes", Tree(row.bytes));
  tree.set("latency_s", Tree(row.latency_s));
  tree.set("bytes_per_s", Tree(row.bytes_per_s));
  tree.set("bytes_sent", Tree(row.bytes_sent));
  return tree;
}

void run_bench_collectives(const BenchFlags& flags) {
  const MeshShape mesh = mesh_value(flags.source.mesh);
  if (mesh.num_devices() < 2) throw UsageError("[bench] collectives need several devices; give a mesh, e.g. --mesh 1x2");
  const BenchCollectivesOptions options = {
      .mesh = mesh, .bytes = flags.sizes, .num_threads = std::max<std::size_t>(1, flags.devices.num_threads), .num_reps = flags.num_reps};
  const std::vector<CollectiveRow> rows = bench_collectives(options);
  if (rows.empty()) return;
  if (flags.json) {
    Tree::Array array;
    for (const CollectiveRow& row : rows) array.push_back(tree_of(row));
    return print(to_json(Tree(std::move(array))));
  }
  print(fmt::format("{:<15} {:<9} {:>12} {:>12} {:>12} {:>9}\n", "collective", "topology", "bytes", "sent", "us", "GB/s"));
  for (const CollectiveRow& row : rows) {
    print(fmt::format("{:<15} {:<9} {:>12} {:>12} {:>12.1f} {:>9.2f}\n", row.op, enum_name(row.topology), row.bytes, row.bytes_sent,
                      row.latency_s * 1e6, row.bytes_per_s / 1e9));
  }
}

/// Prompts at depth 0, generation at every depth with every batch.
std::vector<BenchTest> tests_of(const BenchFlags& flags) {
  std::vector<BenchTest> tests;
  for (const std::int64_t count : flags.prompts) {
    if (count > 0) tests.push_back({.is_prefill = true, .num_tokens = count});
  }
  for (const std::int64_t count : flags.generated) {
    for (const std::int64_t depth : flags.depths) {
      for (const std::int64_t batch : flags.batches) {
        if (count > 0) tests.push_back({.is_prefill = false, .num_tokens = count, .depth = depth, .batch = batch});
      }
    }
  }
  if (tests.empty()) throw UsageError("[bench] there is nothing to measure; expected numbers above 0 in --pp or --tg");
  return tests;
}

std::int64_t peak_rss_bytes() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::int64_t{usage.ru_maxrss} * 1024;
}

/// What --synthetic names is generated and converted where it is not there yet.
ModelSource open_source(const BenchFlags& flags) {
  SourceFlags source = flags.source;
  source.model = flags.what;
  if (!flags.synthetic.empty()) {
    source.model = synthetic_store(flags.synthetic, flags.num_layers, flags.seed, flags.source).string();
    source.dtype.clear();  // the store has it
    source.dtype_policy.clear();
  }
  return ModelSource(source, flags.devices.num_threads);
}

void bench_model(const BenchFlags& flags, const std::vector<BenchTest>& tests, const FrontProcess& front) {
  const BenchOptions options = {.num_reps = flags.num_reps, .breakdown = flags.breakdown, .seed = flags.seed};
  std::int64_t capacity = 0;
  for (const BenchTest& test : tests) capacity = std::max(capacity, tokens_needed(test, options));
  BenchReport report = {.model = flags.synthetic};
  const ModelSource source = open_source(flags);
  const LoadedModel model = load_model(source, flags.config, flags.devices, capacity, front);
  Runner& runner = *model.runner;
  if (report.model.empty()) report.model = source.folder().filename().string();
  report.isa = cpu::kernels().isa;
  report.threads = static_cast<std::int64_t>(runner.device().team().size());
  report.layers = source.hf_config().num_hidden_layers;
  report.dtype = to_string(source.dtype());
  report.file_bytes = runner.weight_bytes();
  report.load_s = model.load_s;
  Calibration calibration(runner.device().team(), flags.calibration_megabytes << 20);
  report.calibration_bytes = static_cast<std::int64_t>(calibration.bytes());
  for (const BenchTest& test : tests) report.rows.push_back(run_bench(runner, test, options, calibration));
  report.peak_rss_bytes = peak_rss_bytes();
  if (flags.json) return print(to_json(to_tree(report)));
  const TableStyle style = flags.markdown ? TableStyle::markdown : TableStyle::plain;
  print(to_table(report, style) + breakdown_table(report, style));
}

void run_bench_model(const BenchFlags& flags) {
  const std::vector<BenchTest> tests = tests_of(flags);
  // A store knows its mesh; one that is yet to be made is made for the mesh of the flags.
  const MeshShape mesh = flags.synthetic.empty() ? open_source(flags).mesh() : mesh_value(flags.source.mesh);
  run_on_mesh({.mesh = mesh,
               .devices = flags.devices,
               .prefault = flags.config.prefault,
               .prepare = [&](std::size_t num_cores) { return prepare_model(open_source(flags), flags.config, num_cores); },
               .lead = [&](const FrontProcess& front) { bench_model(flags, tests, front); }});
}

void run_bench(const BenchFlags& flags) {
  const bool converts = flags.what == "convert";
  if (!flags.what.empty() && !flags.synthetic.empty()) throw UsageError("[bench] give a MODEL or --synthetic, not both");
  if (flags.num_layers > 0 && flags.synthetic.empty())
    throw UsageError("[--num-layers] belongs to --synthetic; a model has the layers it has");
  if (converts) return run_bench_convert(flags);
  if (flags.what == "collectives") return run_bench_collectives(flags);
  run_bench_model(flags);
}

/// What is measured of a model.
void add_model_flags(CLI::App& verb, BenchFlags& flags) {
  verb.add_option("--synthetic", flags.synthetic,
                  "a published shape with generated weights, kept in the cache: v2-lite, v2, v3, kimi-k2, moonlight")
      ->type_name("NAME");
  verb.add_option("--num-layers", flags.num_layers, "with --synthetic: the first N layers (default: all)")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000));
  const auto add_counts = [&](const char* name, std::vector<std::int64_t>& counts, const char* help) {
    verb.add_option(name, counts, help)->type_name("N,..")->delimiter(',')->check(CLI::Range(0, 1 << 24));
  };
  add_counts("--pp", flags.prompts, "prompt lengths (default 512)");
  add_counts("--tg", flags.generated, "numbers of tokens to generate one by one (default 64)");
  add_counts("--depth", flags.depths, "tokens in the cache before --tg (default 0)");
  verb.add_option("--batch", flags.batches, "with --tg: sequences that are decoded at once (default 1)")
      ->type_name("N,..")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  verb.add_flag("--breakdown", flags.breakdown, "one more round: the time of each kind of operator");
  verb.add_option("--calibration-size", flags.calibration_megabytes, "memory that is read to learn its rate (default 3072)")
      ->type_name("MIB")
      ->check(CLI::Range(8, 1 << 20));
  verb.add_option("--seed", flags.seed, "of weights and tokens (default 0)")->type_name("N");
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* verb = app.add_subcommand("bench", "Measures a model, or conversion, against what this machine gives in the same run");
  verb->add_option(
      "WHAT", flags->what,
      "a checkpoint folder, a store, or a word: convert (memory to tensor files), collectives (of a mesh) (default: the installed model)");
  add_model_flags(*verb, *flags);
  verb->add_option("--out", flags->out, "convert: folder on the disk to measure (default: the current one)")->type_name("FOLDER");
  verb->add_option("--size", flags->megabytes, "convert: MiB written in each repetition (default 1024)")
      ->type_name("MIB")
      ->check(CLI::Range(16, 1 << 20));
  verb->add_option("--bytes", flags->sizes, "collectives: sizes of the tensor (default 8192, 131072, 4194304)")
      ->type_name("N,..")
      ->delimiter(',')
      ->check(CLI::Range(64, 1 << 30));
  add_conversion_flags(*verb, flags->source);
  add_config_flags(*verb, flags->config);
  verb->add_option("--reps", flags->num_reps, "repetitions (default 3)")->type_name("N")->check(CLI::Range(1, 1000));
  add_device_flags(*verb, flags->devices);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->add_flag("--md", flags->markdown, "print Markdown tables");
  verb->footer("Example:\n  meshseek bench --synthetic v2-lite --num-layers 9 --pp 512 --tg 64\n  meshseek bench convert --out /tmp");
  verb->callback([flags, &action] { action = [flags] { run_bench(*flags); }; });
}

}  // namespace meshseek::cli

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "cli/bench_convert.hpp"
#include "cli/flags.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"

namespace meshseek::cli {
namespace {

struct BenchFlags {
  std::string what = {};
  std::string out = ".";
  std::string dtype = {};
  std::int64_t megabytes = 1024;
  int num_reps = 3;
  std::size_t num_threads = 0;
  bool json = false;
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
  options.dtype = dtype_value(flags.dtype).value_or(options.dtype);
  ThreadTeam team(flags.num_threads);
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

void run_bench(const BenchFlags& flags) {
  if (flags.what != "convert") throw UsageError(fmt::format("[bench] \"{}\" cannot be measured; expected convert", flags.what));
  run_bench_convert(flags);
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* verb = app.add_subcommand("bench", "Measures against what this machine gives in the same run");
  verb->add_option("WHAT", flags->what, "convert: bfloat16 values in memory become tensor files on disk")->required();
  verb->add_option("--out", flags->out, "folder on the disk to measure (default: the current one)")->type_name("FOLDER");
  verb->add_option("--size", flags->megabytes, "MiB written in each repetition (default 1024)")
      ->type_name("MIB")
      ->check(CLI::Range(16, 1 << 20));
  verb->add_option("--dtype", flags->dtype, "element type of the result: bfloat8_b (default), bfloat4_b, bfloat16, float32")
      ->type_name("TYPE");
  verb->add_option("--reps", flags->num_reps, "repetitions (default 3)")->type_name("N")->check(CLI::Range(1, 1000));
  add_threads_flag(*verb, "--threads", flags->num_threads);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek bench convert --out /tmp");
  verb->callback([flags, &action] { action = [flags] { run_bench(*flags); }; });
}

}  // namespace meshseek::cli

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "hf/generated_checkpoint.hpp"
#include "hf/published_models.hpp"

namespace meshseek::cli {
namespace {

struct GenerateFlags {
  std::string name = {};
  std::string out = {};
  std::int64_t num_layers = 0;  ///< 0: all
  std::uint64_t seed = 0;
  bool fp8 = false;
  bool json = false;
};

/// What `action` refuses is a mistake in the command line.
template <class Action>
auto value_of(const char* flag, Action&& action) {
  try {
    return action();
  } catch (const Error& error) {
    throw UsageError(fmt::format("[{}] {}", flag, error.what()));
  }
}

Tree config_of(const GenerateFlags& flags) {
  Tree config = value_of("NAME", [&] { return published_config(flags.name); });
  if (flags.num_layers > 0) value_of("--num-layers", [&] { keep_first_layers(config, flags.num_layers); });
  if (flags.fp8) set_fp8(config);
  return config;
}

Tree report_tree(const GenerateReport& report, const std::string& out) {
  Tree tree;
  tree.set("out", Tree(out));
  tree.set("tensors", Tree(report.num_tensors));
  tree.set("bytes", Tree(report.bytes));
  tree.set("seconds", Tree(report.seconds));
  tree.set("mb_per_s", Tree(megabytes_per_second(report.bytes, report.seconds)));
  return tree;
}

void run_generate(const GenerateFlags& flags) {
  const Tree config = config_of(flags);
  GenerateReport report;
  {
    ProgressLine line("generate-checkpoint");
    GenerateOptions options = {.seed = flags.seed};
    options.on_progress = [&](const GenerateProgress& progress) {
      line.update({.files_done = progress.files_done,
                   .bytes_done = progress.bytes_done,
                   .expected_bytes = progress.total_bytes,
                   .seconds = progress.seconds});
    };
    report = generate_checkpoint(config, flags.out, options);
  }
  print(flags.json ? to_json(report_tree(report, flags.out)) : summary(report.num_tensors, report.bytes, report.seconds) + "\n");
}

}  // namespace

void add_generate_checkpoint(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<GenerateFlags>();
  CLI::App* verb = app.add_subcommand("generate-checkpoint", "Writes a checkpoint of a published shape with random weights");
  verb->add_option("NAME", flags->name, "shape: v2-lite, v2, v3, kimi-k2 or moonlight")->required();
  verb->add_option("OUT", flags->out, "new or empty folder")->required();
  verb->add_option("--num-layers", flags->num_layers, "keep the first N layers (default: all, up to 2 TB)")
      ->type_name("N")
      ->check(CLI::Range(1, 10'000));
  verb->add_flag("--fp8", flags->fp8, "FP8 projections with block scales, as V3 publishes them, instead of bfloat16");
  verb->add_option("--seed", flags->seed, "of the random weights (default 0)")->type_name("S")->check(CLI::NonNegativeNumber);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek generate-checkpoint v2-lite /tmp/v2-lite --num-layers 2");
  verb->callback([flags, &action] { action = [flags] { run_generate(*flags); }; });
}

}  // namespace meshseek::cli

#include <fmt/format.h>

#include <chrono>
#include <memory>

#include "base/error.hpp"
#include "cli/flags.hpp"
#include "cli/model_source.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {
namespace {

struct ConvertFlags {
  SourceFlags source = {};
  std::string store = {};
  std::size_t num_jobs = 0;
  bool force = false;
  bool json = false;
};

Tree report_tree(const ConvertReport& report, const std::string& store) {
  Tree tree;
  tree.set("store", Tree(store));
  tree.set("tensors", Tree(report.num_tensors));
  tree.set("bytes", Tree(report.bytes));
  tree.set("seconds", Tree(report.seconds));
  tree.set("mb_per_s", Tree(report.up_to_date ? 0.0 : megabytes_per_second(report.bytes, report.seconds)));
  tree.set("up_to_date", Tree(report.up_to_date ? report.num_tensors : 0));
  return tree;
}

void run_convert(const ConvertFlags& flags) {
  const ModelSource source(flags.source, flags.num_jobs);
  if (source.is_store()) throw Error(fmt::format("[{}] is a store already; expected a Hugging Face checkpoint folder", flags.source.model));
  ConvertOptions options = conversion_options(flags.source, flags.num_jobs);
  options.force = flags.force;
  const auto start = std::chrono::steady_clock::now();
  ConvertReport report;
  {
    ConversionProgress progress(source.hf_config(), options.dtype);
    options.on_progress = [&](const ConvertProgress& state) { progress.update(state); };
    report = convert_checkpoint(source.folder(), flags.store, options);
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  print(flags.json ? to_json(report_tree(report, flags.store)) : summary(report) + "\n");
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<ConvertFlags>();
  CLI::App* verb = app.add_subcommand("convert", "Converts a Hugging Face checkpoint into a store of tensor files");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder")->required();
  verb->add_option("STORE", flags->store, "folder of the store; made when missing")->required();
  add_conversion_flags(*verb, flags->source);
  add_threads_flag(*verb, "--jobs", flags->num_jobs);
  verb->add_flag("--force", flags->force, "convert even when the store is up to date");
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek convert models/tiny-shakespeare store --dtype bfloat8_b");
  verb->callback([flags, &action] { action = [flags] { run_convert(*flags); }; });
}

}  // namespace meshseek::cli

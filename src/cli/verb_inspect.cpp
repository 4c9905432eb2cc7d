#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "base/error.hpp"
#include "cli/engine.hpp"
#include "cli/flags.hpp"
#include "cli/inspect_devices.hpp"
#include "cli/inspect_file.hpp"
#include "cli/model_source.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "stage3_run/replay.hpp"

namespace meshseek::cli {
namespace {

struct InspectFlags {
  SourceFlags source = {};
  ConfigFlags config = {};
  std::vector<std::string> compare = {};
  bool run_config = false;
  bool shows_devices = false;
  DeviceFlags devices = {};
  bool json = false;
};

Tree run_config_document(const ModelSource& source, const ConfigFlags& flags) {
  const LoadedModel model = load_model(source, flags, {}, 1);
  Tree document;
  document.set("prefill", inspect_run_config(model.runner->prefill_run_config()));
  document.set("decode", inspect_run_config(model.runner->decode_run_config()));
  return document;
}

void compare(const std::string& a, const std::string& b) {
  const CaptureComparison comparison = compare_captures(CaptureFile(a), CaptureFile(b));
  for (const std::string& line : comparison.config_differences) print(line + "\n");
  if (comparison.first_difference) throw Error(fmt::format("[{}, {}] first difference: {}", a, b, *comparison.first_difference));
  print(fmt::format("{} calls, all values equal\n", comparison.num_calls));
}

void show_devices(const InspectFlags& flags) {
  const DeviceReport report = inspect_devices(mesh_value(flags.source.mesh), bind_value(flags.devices.bind), flags.devices.num_threads);
  print(flags.json ? to_json(to_tree(report)) : to_text(report));
}

void run_inspect(const InspectFlags& flags) {
  const int num_subjects = (flags.source.model.empty() ? 0 : 1) + (flags.compare.empty() ? 0 : 1) + (flags.shows_devices ? 1 : 0);
  if (num_subjects != 1) throw UsageError("[inspect] expected either FILE or --compare A B or --devices");
  const bool places = !flags.source.mesh.empty() || !flags.devices.bind.empty() || flags.devices.num_threads > 0;
  if (places && !flags.shows_devices) throw UsageError("[inspect] --mesh, --bind and --threads belong to --devices");
  if (flags.shows_devices) return show_devices(flags);
  if (!flags.compare.empty()) return compare(flags.compare[0], flags.compare[1]);
  std::error_code ignored;
  const bool is_folder = std::filesystem::is_directory(flags.source.model, ignored);
  if (flags.run_config && !is_folder) throw UsageError("[--run-config] needs a checkpoint folder or a store");
  if (flags.run_config) return print(to_json(run_config_document(ModelSource(flags.source), flags.config)));
  const Tree document = is_folder ? inspect_store(ModelSource(flags.source).prepare_store()) : inspect_file(flags.source.model);
  print(flags.json ? to_json(document) : to_text(document));
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App* verb = app.add_subcommand("inspect", "Shows what is in a file or a store, or the devices of this machine");
  verb->add_option("FILE", flags->source.model, ".safetensors, .tensorbin, weight or model config, store or checkpoint folder");
  verb->add_option("--compare", flags->compare, "two captures: names the first call in which they differ")->type_name("A B")->expected(2);
  verb->add_flag("--run-config", flags->run_config, "the merged configs of a store as JSON, weights as dtype, shape and layout");
  verb->add_flag("--devices", flags->shows_devices, "cores and memory nodes of this machine, and where the devices of a mesh run");
  verb->add_option("--mesh", flags->source.mesh, "with --devices: rows x columns (default 1x1)")->type_name("RxC");
  add_device_flags(*verb, flags->devices);
  add_config_flags(*verb, flags->config);
  add_strict_flag(*verb, flags->config);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek inspect models/tiny-shakespeare/model-00001-of-000002.safetensors");
  verb->callback([flags, &action] { action = [flags] { run_inspect(*flags); }; });
}

}  // namespace meshseek::cli

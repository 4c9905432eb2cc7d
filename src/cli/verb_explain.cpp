#include <fmt/format.h>

#include <memory>

#include "base/error.hpp"
#include "cli/engine.hpp"
#include "cli/explain.hpp"
#include "cli/flags.hpp"
#include "cli/model_source.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {
namespace {

struct ExplainFlags {
  SourceFlags source = {};
  ConfigFlags config = {};
  std::string path = {};
  std::string mode = {};
  DeviceFlags devices = {};
  bool json = false;
};

/// The mode asked for; without --mode that of the config file. A file for the other mode would have no effect and is refused.
Mode mode_of(const ExplainFlags& flags) {
  const bool has_prefill = !flags.config.prefill_config.empty();
  const bool has_decode = !flags.config.decode_config.empty();
  const bool is_decode = flags.mode.empty() ? has_decode : flags.mode == "decode";
  if (is_decode ? has_prefill : has_decode) {
    throw UsageError(fmt::format("[--{}-config] has no effect on the {} config; leave it out, or choose the other --mode",
                                 is_decode ? "prefill" : "decode", is_decode ? "decode" : "prefill"));
  }
  return is_decode ? Mode::decode : Mode::prefill;
}

void check_mode(const Tree& document, const std::string& mode) {
  const Tree* given = document.find("mode");
  if (given != nullptr && *given != Tree(mode))
    throw ConfigError(fmt::format("[{} config] is for mode {}; expected \"{}\"", mode, to_json_line(*given), mode));
}

void run_explain(const ExplainFlags& flags) {
  const Mode mode = mode_of(flags);
  const ModelSource source(flags.source);
  ExplainedConfig config;
  ConfigFlags changes = flags.config;
  changes.num_threads = cores_of_device(source.mesh(), flags.devices);
  config.mode = mode == Mode::prefill ? "prefill" : "decode";
  if (source.is_store()) config.weight_config = read_store_info(source.folder()).weight_config;
  config.document = model_config(source, changes, mode, config.weight_config, &config.provenance);
  check_mode(config.document, config.mode);
  const Tree document = explain(config, flags.path);
  print(flags.json ? to_json(document) : explanation_text(document));
}

}  // namespace

void add_explain(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<ExplainFlags>();
  CLI::App* verb = app.add_subcommand("explain", "Shows the fields of one operator's config and who set each; converts nothing");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder or store")->required();
  verb->add_option("PATH", flags->path, "an operator, e.g. model.layers.10.mlp.w1; a module lists its operators")->required();
  verb->add_option("--mode", flags->mode, "prefill (default) or decode")->type_name("MODE")->check(CLI::IsMember({"prefill", "decode"}));
  add_mesh_flags(*verb, flags->source);
  add_deterministic_flag(*verb, flags->source);
  verb->add_option("--dtype", flags->source.dtype, "element type of the store the config is for (default bfloat8_b, or what the store has)")
      ->type_name("TYPE");
  add_device_flags(*verb, flags->devices);
  add_config_flags(*verb, flags->config);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek explain models/tiny-shakespeare model.layers.0.mlp.w1");
  verb->callback([flags, &action] { action = [flags] { run_explain(*flags); }; });
}

}  // namespace meshseek::cli

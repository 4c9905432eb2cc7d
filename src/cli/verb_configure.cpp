#include <fmt/format.h>

#include <memory>

#include "base/error.hpp"
#include "base/file.hpp"
#include "cli/engine.hpp"
#include "cli/flags.hpp"
#include "cli/model_source.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "config/diff.hpp"
#include "stage2_configure/configure.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {
namespace {

struct ConfigureFlags {
  SourceFlags source = {};
  ConfigFlags config = {};
  std::string mode = {};
  std::string device = {};
  DeviceFlags devices = {};
  std::string output = {};
  std::vector<std::string> diff = {};
};

/// A device description: {"num_cores", "l2_bytes", "isa"}, all three required, nothing else.
DeviceDescription read_device(const std::string& path) {
  const Tree document = read_json_file(path);
  DeviceDescription device;
  int num_known = 0;
  for (const auto& [name, value] : document.as_object(path)) {
    const std::string where = path + " " + name;
    ++num_known;
    if (name == "num_cores")
      device.num_cores = value.as_integer(where);
    else if (name == "l2_bytes")
      device.l2_bytes = value.as_integer(where);
    else if (name == "isa")
      device.isa = value.as_string(where);
    else
      throw ConfigError(fmt::format("[{}] unknown field \"{}\"; expected num_cores, l2_bytes and isa", path, name));
  }
  if (num_known != 3) throw ConfigError(fmt::format("[{}] has {} fields; expected num_cores, l2_bytes and isa", path, num_known));
  if (device.num_cores < 1 || device.l2_bytes < 0) {
    throw ConfigError(fmt::format("[{}] num_cores {} and l2_bytes {}; expected at least 1 and 0", path, device.num_cores, device.l2_bytes));
  }
  for (const char* isa : {"scalar", "avx2", "avx512", "avx512_vnni", "amx"}) {
    if (device.isa == isa) return device;
  }
  throw ConfigError(fmt::format("[{}] isa \"{}\"; expected scalar, avx2, avx512, avx512_vnni or amx", path, device.isa));
}

Tree generated_config(const ConfigureFlags& flags, const std::string& mode) {
  const ModelSource source(flags.source);
  ConfigureOptions options = configure_options(source, flags.config, mode == "decode" ? Mode::decode : Mode::prefill);
  options.mesh.device = flags.device.empty() || flags.device == "probe" ? probe_device() : read_device(flags.device);
  const std::size_t num_threads = cores_of_device(source.mesh(), flags.devices);
  if (num_threads > 0 && (flags.device.empty() || flags.device == "probe"))
    options.mesh.device.num_cores = static_cast<std::int64_t>(num_threads);
  if (source.is_store()) options.weight_config = read_store_info(source.folder()).weight_config;
  return make_model_config(source.hf_config(), options);
}

/// A config file with every field in place that it leaves to its default.
Tree read_model_config(const std::string& path) {
  const Tree document = read_json_file(path);
  try {
    return with_overlays(document, {}, {});
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("[{}] {}", path, error.what()));
  }
}

/// --diff A B compares two files; MODEL --diff A compares what would be generated, for the file's mode unless --mode says otherwise, with a file.
std::string diff_text(const ConfigureFlags& flags) {
  const bool has_model = !flags.source.model.empty();
  if (has_model == (flags.diff.size() == 2))
    throw UsageError("[--diff] expected two config files, or MODEL and one; put MODEL before --diff");
  const bool has_flags = !flags.mode.empty() || !flags.device.empty() || !flags.devices.bind.empty() || flags.devices.num_threads > 0 ||
                         !flags.source.mesh.empty() || !flags.source.plan.empty() || flags.source.deterministic ||
                         !flags.source.dtype.empty() || !flags.config.overlays.empty() || !flags.config.sets.empty();
  if (!has_model && has_flags)
    throw UsageError("[--diff] two files are compared as they are; leave the other flags out, or name a MODEL and one file");
  const Tree right = read_model_config(flags.diff.back());
  std::string mode = flags.mode;
  if (const Tree* given = right.find("mode"); mode.empty() && given != nullptr) mode = given->as_string(flags.diff.back() + " mode");
  const Tree left = has_model ? generated_config(flags, mode) : read_model_config(flags.diff.front());
  const auto lines = diff_configs(left, right, has_model ? flags.source.model : flags.diff.front(), flags.diff.back());
  return lines.empty() ? "no differences\n" : fmt::format("{}\n", fmt::join(lines, "\n"));
}

void run_configure(const ConfigureFlags& flags) {
  if (flags.source.model.empty() && flags.diff.empty()) throw UsageError("[configure] MODEL is required; see meshseek configure --help");
  const std::string text = flags.diff.empty() ? to_json(generated_config(flags, flags.mode)) : diff_text(flags);
  if (flags.output.empty())
    print(text);
  else
    write_file_atomically(flags.output, std::string_view(text));
}

}  // namespace

void add_configure(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<ConfigureFlags>();
  CLI::App* verb = app.add_subcommand("configure", "Writes the model config of one mode; needs no weights, only config.json");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder or store");
  verb->add_option("--mode", flags->mode, "prefill (default) or decode")->type_name("MODE")->check(CLI::IsMember({"prefill", "decode"}));
  add_mesh_flags(*verb, flags->source);
  add_deterministic_flag(*verb, flags->source);
  add_device_flags(*verb, flags->devices);
  verb->add_option("--device", flags->device, "probe (default) or a JSON file with num_cores, l2_bytes and isa")
      ->type_name("FILE")
      ->excludes("--threads", "--bind");
  verb->add_option("--dtype", flags->source.dtype, "element type of the store the config is for (default bfloat8_b, or what the store has)")
      ->type_name("TYPE");
  add_overlay_flags(*verb, flags->config);
  verb->add_option("--diff", flags->diff,
                   "one config file: its differences from the MODEL's config; two files: the differences between them")
      ->type_name("FILE")
      ->expected(1, 2);
  verb->add_option("-o", flags->output, "file to write (default: stdout)")->type_name("FILE");
  verb->footer("Example:\n  meshseek configure models/tiny-shakespeare --mode decode -o decode.json");
  verb->callback([flags, &action] { action = [flags] { run_configure(*flags); }; });
}

}  // namespace meshseek::cli

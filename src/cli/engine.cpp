#include "cli/engine.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/stopwatch.hpp"
#include "cli/terminal.hpp"
#include "mesh/mpi_mesh.hpp"

namespace meshseek::cli {
namespace {

enum class OperatorLog : std::uint8_t { none, ops, plan };

/// What MESHSEEK_LOG asks for.
OperatorLog wanted_log() {
  const char* value = std::getenv("MESHSEEK_LOG");
  if (value == nullptr || *value == '\0') return OperatorLog::none;
  if (std::string_view(value) == "ops") return OperatorLog::ops;
  if (std::string_view(value) == "plan") return OperatorLog::plan;
  throw UsageError(fmt::format("[MESHSEEK_LOG] \"{}\"; expected \"ops\" or \"plan\"", value));
}

/// Every executed operator, or each distinct plan once.
std::function<void(const OpRecord&)> make_observer(OperatorLog log) {
  if (log == OperatorLog::ops) {
    return [](const OpRecord& record) {
      print_note(fmt::format("{} {}{}{}", record.op, record.detail, record.state.empty() ? "" : " ", record.state));
    };
  }
  return [seen = std::set<std::string>()](const OpRecord& record) mutable {
    if (record.plan.empty()) return;
    const std::string line = fmt::format("plan {} {}: {}", record.op, record.detail, record.plan);
    if (seen.insert(line).second) print_note(line);
  };
}

/// A line every few seconds while a large store is loaded.
std::function<void(const LoadProgress&)> load_progress() {
  static constexpr std::chrono::seconds kInterval(2);
  return [last = std::chrono::steady_clock::now()](const LoadProgress& progress) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (now - last < kInterval) return;
    last = now;
    print_note(fmt::format("loading weights: {} of {} files", progress.files_done, progress.num_files));
  };
}

}  // namespace

std::size_t cores_of_device(const MeshShape& mesh, const DeviceFlags& flags) {
  return place_here(static_cast<std::size_t>(mesh.num_devices()), bind_value(flags.bind), flags.num_threads).front().team.num_threads;
}

ConfigureOptions configure_options(const ModelSource& source, const ConfigFlags& flags, Mode mode) {
  return {.mode = mode,
          .mesh = {.shape = source.mesh(), .device = {}},
          .plan = source.plan(),
          .deterministic = source.deterministic(),
          .weight_dtype = source.dtype(),
          .overlays = read_overlays(flags),
          .sets = flags.sets};
}

Tree model_config(const ModelSource& source, const ConfigFlags& flags, Mode mode, const Tree& weight_config, Provenance* provenance) {
  const std::string& file = mode == Mode::prefill ? flags.prefill_config : flags.decode_config;
  if (!file.empty()) {
    Tree document = with_overlays(read_json_file(file), read_overlays(flags), flags.sets, file, provenance);
    if (source.deterministic() && !document.flag("deterministic", file)) {
      throw ConfigError(
          fmt::format("[{}] was configured without --deterministic; configure it again with the flag, or leave the flag out", file));
    }
    return document;
  }
  ConfigureOptions options = configure_options(source, flags, mode);
  options.mesh.device = probe_device();
  if (flags.num_threads > 0) options.mesh.device.num_cores = static_cast<std::int64_t>(flags.num_threads);
  options.weight_config = weight_config;
  return make_model_config(source.hf_config(), options, provenance);
}

PreparedModel prepare_model(const ModelSource& source, ConfigFlags flags, std::size_t num_cores) {
  flags.num_threads = num_cores;
  // Configs come first: a mistake in a flag is found before hours of conversion.
  model_config(source, flags, Mode::prefill);
  model_config(source, flags, Mode::decode);
  PreparedModel prepared = {.store = source.prepare_store()};
  const Tree weight_config = read_store_info(prepared.store).weight_config;
  prepared.prefill_config = model_config(source, flags, Mode::prefill, weight_config);
  prepared.decode_config = model_config(source, flags, Mode::decode, weight_config);
  return prepared;
}

LoadedModel load_model(const ModelSource& source, ConfigFlags flags, const DeviceFlags& devices, std::int64_t capacity,
                       const FrontProcess& process) {
  if (is_mpi_rank() && process.communicator == nullptr)
    throw Error(
        "[mpi] each rank would run the whole model alone; expected no launcher, or a verb that takes part in it (run, logits, "
        "score, bench)");
  const OperatorLog log = wanted_log();
  const std::size_t num_cores = process.communicator ? process.place.team.num_threads : cores_of_device(source.mesh(), devices);
  const PreparedModel prepared = prepare_model(source, flags, num_cores);
  const Path& store = prepared.store;
  const auto start = std::chrono::steady_clock::now();
  auto runner = std::make_unique<Runner>(store, prepared.prefill_config, prepared.decode_config,
                                         RunnerOptions{.num_threads = devices.num_threads,
                                                       .bind = bind_value(devices.bind),
                                                       .max_tokens = capacity,
                                                       .on_progress = load_progress(),
                                                       .prefault = flags.prefault,
                                                       .strict = flags.strict,
                                                       .process = process});
  const double load_s = seconds_since(start);
  if (!runner->note().empty()) print_note(runner->note());
  if (log != OperatorLog::none) runner->device().set_observer(make_observer(log));
  return {.runner = std::move(runner), .load_s = load_s, .store = store};
}

void check_one_device(const std::string& flag, const MeshShape& mesh) {
  if (mesh.num_devices() > 1) throw Error(fmt::format("[{}] shows one device; expected a mesh of 1x1, not {}", flag, to_string(mesh)));
}

std::unique_ptr<RunnerCapture> start_capture(const LoadedModel& model, const std::string& file) {
  if (file.empty()) return nullptr;
  check_one_device("--capture", model.runner->mesh());  // config files may have said it
  return std::make_unique<RunnerCapture>(file, model.store, *model.runner);
}

}  // namespace meshseek::cli

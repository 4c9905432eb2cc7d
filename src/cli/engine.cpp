#include "cli/engine.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <string_view>

#include "base/error.hpp"
#include "cli/terminal.hpp"

namespace meshseek::cli {
namespace {

/// Whether MESHSEEK_LOG asks for the operator log.
bool wants_operator_log() {
  const char* value = std::getenv("MESHSEEK_LOG");
  if (value == nullptr || *value == '\0') return false;
  if (std::string_view(value) != "ops") throw UsageError(fmt::format("[MESHSEEK_LOG] \"{}\"; expected \"ops\"", value));
  return true;
}

}  // namespace

Tree model_config(const ModelSource& source, const ConfigFlags& flags, Mode mode, const Tree& weight_config) {
  const std::string& file = mode == Mode::prefill ? flags.prefill_config : flags.decode_config;
  if (!file.empty()) return with_overlays(read_json_file(file), read_overlays(flags), flags.sets);
  ConfigureOptions options;
  options.mode = mode;
  options.mesh = {.shape = source.mesh(), .device = probe_device()};
  options.weight_dtype = source.dtype();
  options.weight_config = weight_config;
  options.overlays = read_overlays(flags);
  options.sets = flags.sets;
  return make_model_config(source.hf_config(), options);
}

LoadedModel load_model(const ModelSource& source, const ConfigFlags& flags, std::size_t num_threads, std::int64_t capacity) {
  const bool log_operators = wants_operator_log();
  // Configs come first: a mistake in a flag is found before hours of conversion.
  model_config(source, flags, Mode::prefill);
  model_config(source, flags, Mode::decode);
  const Path store = source.prepare_store();
  const Tree weight_config = read_store_info(store).weight_config;
  const Tree prefill = model_config(source, flags, Mode::prefill, weight_config);
  const Tree decode = model_config(source, flags, Mode::decode, weight_config);
  const auto start = std::chrono::steady_clock::now();
  auto runner = std::make_unique<Runner>(store, prefill, decode, RunnerOptions{.num_threads = num_threads, .max_tokens = capacity});
  const double load_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (log_operators) {
    runner->device().set_observer([](const OpRecord& record) { print_note(fmt::format("{} {}", record.op, record.detail)); });
  }
  return {.runner = std::move(runner), .load_s = load_s, .store = store};
}

void add_capture_flag(CLI::App& verb, std::string& file) {
  verb.add_option("--capture", file, "records every operator call, for replay and inspect --compare")->type_name("FILE");
}

std::unique_ptr<RunnerCapture> start_capture(const LoadedModel& model, const std::string& file) {
  if (file.empty()) return nullptr;
  return std::make_unique<RunnerCapture>(file, model.store, *model.runner);
}

}  // namespace meshseek::cli

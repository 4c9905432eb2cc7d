#include "cli/model_source.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {
namespace {

constexpr const char* kInstalledModel = "tiny-shakespeare";
constexpr int kParentsSearched = 6;

/// The value of an environment variable; empty when unset.
std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// The installed model: $MESHSEEK_MODELS, models/ beside or above the program, /usr/share/meshseek/models.
Path find_installed_model() {
  std::vector<Path> folders;
  if (const std::string models = environment("MESHSEEK_MODELS"); !models.empty()) folders.emplace_back(models);
  std::error_code ignored;
  Path parent = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (int level = 0; level < kParentsSearched && parent.has_relative_path(); ++level, parent = parent.parent_path()) {
    folders.push_back(parent / "models");
  }
  folders.emplace_back("/usr/share/meshseek/models");
  for (const Path& folder : folders) {
    if (std::filesystem::exists(folder / kInstalledModel / "config.json", ignored)) return folder / kInstalledModel;
  }
  throw UsageError(fmt::format("[model] {} is not installed; name a MODEL or STORE, or set MESHSEEK_MODELS to the folder that holds it",
                               kInstalledModel));
}

}  // namespace

Path cache_folder() {
  if (const std::string cache = environment("MESHSEEK_CACHE"); !cache.empty()) return cache;
  const std::string home = environment("HOME");
  if (home.empty()) throw Error("[cache] neither MESHSEEK_CACHE nor HOME is set; set MESHSEEK_CACHE to a folder for converted models");
  return Path(home) / ".cache" / "meshseek";
}

ConvertOptions conversion_options(const SourceFlags& flags, std::size_t num_threads) {
  ConvertOptions options;
  options.mesh = weight_mesh(mesh_value(flags.mesh), plan_value(flags.plan));
  options.deterministic = flags.deterministic;
  options.dtype = dtype_value(flags.dtype).value_or(options.dtype);
  if (!flags.dtype_policy.empty()) options.dtype_policy = read_json_file(flags.dtype_policy);
  options.num_threads = num_threads;
  return options;
}

ModelSource::ModelSource(const SourceFlags& flags, std::size_t num_threads)
    : folder_(flags.model.empty() ? find_installed_model() : Path(flags.model)),
      mesh_(mesh_value(flags.mesh)),
      plan_(plan_value(flags.plan)),
      options_(conversion_options(flags, num_threads)) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder_, ignored)) {
    throw Error(fmt::format("[{}] there is no such folder; expected a checkpoint folder or a store", folder_.string()));
  }
  is_store_ = looks_like_store(folder_);
  if (is_store_) check_store_flags(flags);
  hf_ = read_hf_config(folder_);
}

void ModelSource::check_store_flags(const SourceFlags& flags) {
  const StoreInfo info = read_store_info(folder_);
  const auto contradict = [&](const std::string& flag, std::string_view actual) {
    throw Error(fmt::format("[{}] is a store of {} but {} was given; leave it out or name the checkpoint", folder_.string(), actual, flag));
  };
  if (!flags.dtype_policy.empty()) contradict("--dtype-policy", to_string(info.dtype));
  if (!flags.dtype.empty() && options_.dtype != info.dtype) contradict("--dtype " + flags.dtype, to_string(info.dtype));
  if (flags.mesh.empty()) mesh_ = info.mesh;
  if (weight_mesh(mesh_, plan_) != info.mesh) {
    const std::string plan = plan_ == ParallelPlan::pipeline ? fmt::format(" --plan pipeline (a store for 1x{})", mesh_.cols) : "";
    contradict(fmt::format("--mesh {}{}", to_string(mesh_), plan), "mesh " + to_string(info.mesh));
  }
  options_.dtype = info.dtype;
  options_.mesh = info.mesh;
  if (options_.joins_outputs() && !info.deterministic) {
    throw Error(
        fmt::format("[{}] was converted for mesh {} without --deterministic; convert it again with the flag (STORE may be the source)",
                    folder_.string(), to_string(info.mesh)));
  }
  options_.deterministic = flags.deterministic || info.deterministic;
}

Path ModelSource::prepare_store() const {
  if (is_store_) return folder_;
  const Path store = cache_folder() / conversion_digest(folder_, options_);
  ConvertReport report;
  {
    ProgressLine line("convert");
    ConvertOptions options = options_;
    options.on_progress = show_conversion(line);
    report = convert_checkpoint(folder_, store, options);
  }
  if (!report.up_to_date()) print_note("convert: " + summary(report));
  return store;
}

}  // namespace meshseek::cli

#include "cli/synthetic_store.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "cli/model_source.hpp"
#include "cli/progress.hpp"
#include "hf/generated_checkpoint.hpp"
#include "hf/published_models.hpp"
#include "stage1_convert/convert.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {
namespace {

/// Raised when generated weights change.
constexpr int kGeneratorVersion = 1;
constexpr std::size_t kKeyDigits = 16;

Tree config_of(const std::string& name, std::int64_t num_layers) {
  try {
    Tree config = published_config(name);
    if (num_layers > 0) keep_first_layers(config, num_layers);
    set_fp8(config);  // half as much to write
    return config;
  } catch (const Error& error) {
    throw UsageError(fmt::format("[--synthetic] {}", error.what()));
  }
}

bool is_finished(const Path& store) {
  if (!looks_like_store(store)) return false;
  try {
    read_store_info(store);
    return true;
  } catch (const Error&) {
    return false;  // an interrupted conversion: made again
  }
}

/// A folder that is removed in the end, whatever happens.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(Path path) : path_(std::move(path)) {}
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const Path& path() const { return path_; }

 private:
  Path path_;
};

void generate(const Tree& config, const Path& folder, std::uint64_t seed) {
  ProgressLine line("generate-checkpoint");
  GenerateOptions options = {.seed = seed};
  options.on_progress = [&](const GenerateProgress& progress) {
    line.update({.files_done = progress.files_done,
                 .bytes_done = progress.bytes_done,
                 .expected_bytes = progress.total_bytes,
                 .seconds = progress.seconds});
  };
  generate_checkpoint(config, folder, options);
}

}  // namespace

Path synthetic_store(const std::string& name, std::int64_t num_layers, std::uint64_t seed, const SourceFlags& flags) {
  const Tree config = config_of(name, num_layers);
  ConvertOptions options = conversion_options(flags, 0);
  const std::string key = sha256_hex(fmt::format("{}\n{}\n{}\n{}\n{}\n{}", kGeneratorVersion, kConverterVersion, to_json_line(config), seed,
                                                 to_string(options.dtype), to_json_line(options.dtype_policy)));
  const std::string mesh = options.mesh.num_devices() > 1 ? "-" + to_string(options.mesh) : "";
  const Path store = cache_folder() / fmt::format("synthetic-{}-{}{}{}", name, key.substr(0, kKeyDigits), mesh,
                                                  options.joins_outputs() ? "-deterministic" : "");
  if (is_finished(store)) return store;
  std::filesystem::create_directories(store.parent_path());
  const TemporaryFolder checkpoint(store.string() + fmt::format(".checkpoint.{}", ::getpid()));
  generate(config, checkpoint.path(), seed);
  ProgressLine line("convert");
  options.on_progress = show_conversion(line);
  convert_checkpoint(checkpoint.path(), store, options);
  return store;
}

}  // namespace meshseek::cli

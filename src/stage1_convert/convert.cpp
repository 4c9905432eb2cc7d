#include "stage1_convert/convert.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <optional>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/file_lock.hpp"
#include "config/ranges.hpp"
#include "config/serialise.hpp"
#include "hf/state_dict_view.hpp"
#include "modules/model/model.hpp"
#include "stage1_convert/dtype_policy.hpp"

namespace meshseek {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kWeightConfigFormat = 1;
constexpr const char* kWeightConfig = "weight_config.json";
constexpr const char* kUnfinishedMark = "conversion_unfinished";
constexpr const char* kLock = "conversion_lock";

/// Files that a store carries so that stage 3 needs no checkpoint.
constexpr const char* kCarriedFiles[] = {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"};

void check_options(const Path& store, const ConvertOptions& options) {
  if (options.mesh.num_devices() != 1) {
    throw Error(fmt::format("[convert] mesh {}: only 1x1 is supported so far; leave --mesh out", to_string(options.mesh)));
  }
  const bool known = is_block_float(options.dtype) || options.dtype == DataType::bfloat16 || options.dtype == DataType::float32;
  if (!known) throw Error(fmt::format("[convert] dtype {}: expected bfloat8_b, bfloat4_b, bfloat16 or float32", to_string(options.dtype)));
  if (!std::filesystem::exists(store) || std::filesystem::exists(store / kLock)) return;
  if (!std::filesystem::is_directory(store)) throw Error(fmt::format("[{}] is a file; expected a folder for the store", store.string()));
  if (!std::filesystem::is_empty(store)) {
    throw Error(fmt::format("[{}] holds other files and is no store; name a new or empty folder", store.string()));
  }
}

/// The policy below "model" with its layer ranges expanded, checked for names of dtypes.
Tree expanded_policy(const ConvertOptions& options, const HfConfig& hf) {
  if (options.dtype_policy.is_null()) return {};
  static constexpr std::array<std::string_view, 2> kKeys = {"format_version", "model"};
  serialise::check_keys(options.dtype_policy, "dtype policy", {}, false, kKeys);
  const Tree* version = options.dtype_policy.find("format_version");
  if (version == nullptr || version->as_integer("dtype policy format_version") != 1) {
    throw ConfigError("[dtype policy] expected \"format_version\": 1");
  }
  const Tree* model = options.dtype_policy.find("model");
  if (model == nullptr) throw ConfigError("[dtype policy] expected a \"model\" with dtypes below it");
  return expand_dtype_policy(*model, hf);
}

/// Bytes and files of a finished store that was made from the same source with the same options.
std::optional<ConvertReport> find_up_to_date(const Path& store, const std::string& digest) {
  if (!std::filesystem::exists(store / kWeightConfig)) return std::nullopt;
  const Path path = store / kWeightConfig;
  const Tree document = parse_json(read_text_file(path), path.string());
  const Tree* known = document.find("source_digest");
  if (known == nullptr || !known->is_string() || known->as_string("source_digest") != digest) return std::nullopt;
  ConvertReport report;
  report.up_to_date = true;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store)) {
    if (entry.path().extension() != ".tensorbin") continue;
    ++report.num_tensors;
    report.bytes += static_cast<std::int64_t>(entry.file_size());
  }
  return report;
}

void carry_files(const Path& checkpoint, const Path& store) {
  for (const char* name : kCarriedFiles) {
    if (std::filesystem::exists(checkpoint / name)) write_file_atomically(store / name, read_text_file(checkpoint / name));
  }
}

Tree weight_config_document(const ConvertOptions& options, const std::string& digest, WeightConfig model) {
  for (const char* list : {"layers", "mtp"}) {
    if (Tree* entries = model.find(list)) *entries = fold_ranges(*entries);
  }
  Tree document;
  document.set("format_version", Tree(kWeightConfigFormat));
  document.set("converter_version", Tree(kConverterVersion));
  document.set("source_digest", Tree(digest));
  document.set("mesh", Tree(to_string(options.mesh)));
  document.set("dtype", Tree(to_string(options.dtype)));
  if (!options.dtype_policy.is_null()) document.set("dtype_policy", options.dtype_policy);
  document.set("model", std::move(model));
  return document;
}

/// Removes tensor files that an earlier conversion with other options left behind.
void clear_tensors(const Path& store) {
  std::vector<Path> stale;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store)) {
    if (entry.path().extension() == ".tensorbin" || entry.path().extension() == ".tmp") stale.push_back(entry.path());
  }
  for (const Path& path : stale) std::filesystem::remove(path);
}

}  // namespace

ConvertReport convert_checkpoint(const Path& checkpoint, const Path& store, const ConvertOptions& options) {
  const auto start = Clock::now();
  check_options(store, options);
  const HfConfig hf = read_hf_config(checkpoint);
  const StateDict state_dict(checkpoint, hf);
  const Tree policy = expanded_policy(options, hf);
  const std::string digest = conversion_digest(checkpoint, options);
  std::filesystem::create_directories(store);
  const FileLock lock(store / kLock);
  if (!options.force) {
    if (const auto report = find_up_to_date(store, digest)) return *report;
  }

  // From here until the weight config is back, the folder is no usable store.
  write_file_atomically(store / kUnfinishedMark, std::string_view("run `meshseek convert` again\n"));
  std::filesystem::remove(store / kWeightConfig);
  clear_tensors(store);

  ConvertProgress progress;
  for (const Path& file : state_dict.files()) progress.source_bytes += static_cast<std::int64_t>(std::filesystem::file_size(file));
  ThreadTeam team(options.num_threads);
  ConversionContext context = {.store = store, .dtype = options.dtype, .dtype_policy = policy, .mesh = options.mesh, .team = &team};
  context.on_file = [&](const std::string& file, std::int64_t bytes) {
    ++progress.files_done;
    progress.bytes_done += bytes;
    progress.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    progress.file = file;
    if (options.on_progress) options.on_progress(progress);
  };
  WeightConfig model = Model::convert_weights(hf, StateDictView(state_dict), WeightOutput(context), options.mesh);
  carry_files(checkpoint, store);
  write_file_atomically(store / kWeightConfig, to_json(weight_config_document(options, digest, std::move(model))));
  std::filesystem::remove(store / kUnfinishedMark);
  return {.num_tensors = progress.files_done,
          .bytes = progress.bytes_done,
          .seconds = std::chrono::duration<double>(Clock::now() - start).count()};
}

}  // namespace meshseek

#include "stage1_convert/convert.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stopwatch.hpp"
#include "config/ranges.hpp"
#include "hf/state_dict.hpp"
#include "stage1_convert/conversion_plan.hpp"
#include "stage1_convert/staged_store.hpp"

namespace meshseek {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kWeightConfigFormat = 1;

/// Files that a store carries so that stage 3 needs no checkpoint.
constexpr const char* kCarriedFiles[] = {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"};

void check_options(const ConvertOptions& options) {
  const bool known = is_block_float(options.dtype) || options.dtype == DataType::bfloat16 || options.dtype == DataType::float32;
  if (!known) throw Error(fmt::format("[convert] dtype {}: expected bfloat8_b, bfloat4_b, bfloat16 or float32", to_string(options.dtype)));
  const std::int64_t num_devices = options.mesh.num_devices();
  if (options.local.count == 0 || options.local.first + options.local.count <= num_devices) return;
  throw Error(fmt::format("[convert] ranks {} to {}: the mesh {} has {} devices", options.local.first,
                          options.local.first + options.local.count - 1, to_string(options.mesh), num_devices));
}

std::int64_t memory_limit(const ConvertOptions& options) {
  if (options.memory_limit > 0) return options.memory_limit;
  const std::int64_t memory = std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  return std::min(std::int64_t{2} << 30, memory / 4);
}

std::string weight_config_text(const ConvertOptions& options, const std::string& digest, WeightConfig model) {
  for (const char* list : {"layers", "mtp"}) {
    if (Tree* entries = model.find(list)) *entries = fold_ranges(*entries);
  }
  Tree document;
  document.set("format_version", Tree(kWeightConfigFormat));
  document.set("converter_version", Tree(kConverterVersion));
  document.set("source_digest", Tree(digest));
  document.set("mesh", Tree(to_string(options.mesh)));
  if (options.joins_outputs()) document.set("deterministic", Tree(true));
  document.set("dtype", Tree(to_string(options.dtype)));
  if (!options.dtype_policy.is_null()) document.set("dtype_policy", options.dtype_policy);
  document.set("model", std::move(model));
  return to_json(document);
}

/// One conversion.
class Conversion {
 public:
  Conversion(const ConversionInput& input, const Path& store, const ConvertOptions& options)
      : input_(input), options_(options), team_(options.num_threads), store_(store, team_) {}

  ConvertReport run() {
    ConversionPlan plan = make_plan(input_, options_, team_);
    for (PlannedFile& file : plan.files) decide(file);
    if (options_.measures_error) measure(plan);
    if (!options_.dry_run) {
      check_space();
      build(plan);
      commit(plan);
    }
    report_.seconds = seconds();
    return std::move(report_);
  }

 private:
  double seconds() const { return seconds_since(start_); }

  /// Says why a file is built, and opens its line of the report.
  void decide(PlannedFile& file) {
    const ManifestEntry* entry = store_.find(file.job.path);
    if (options_.force) {
      file.why = "--force";
    } else if (entry == nullptr) {
      file.why = store_.manifest().files.contains(file.job.path) ? "it is missing or has another size" : "new";
    } else {
      file.why = difference(file, *entry, options_.trust);
    }
    const auto bytes = static_cast<std::int64_t>(plan_file(file.job, pieces_of(file.job)).file_bytes);
    report_.files.push_back({file.job.path, file.why, file.description.dtype, file.job.shape, bytes, {}});
    report_.bytes += bytes;
    if (file.why.empty()) {
      ++report_.num_up_to_date;
    } else {
      report_.bytes_written += bytes;
      to_build_.push_back(report_.files.size() - 1);
    }
  }

  void measure(const ConversionPlan& plan) {
    std::vector<WeightJob> jobs;
    for (const PlannedFile& file : plan.files) jobs.push_back(file.job);
    const std::vector<EncodingError> errors = measure_errors(jobs, team_);
    for (std::size_t idx = 0; idx < errors.size(); ++idx) report_.files[idx].error = errors[idx];
  }

  void check_space() const {
    std::error_code failed;
    const auto space = std::filesystem::space(store_.path(), failed);
    if (failed || static_cast<std::int64_t>(space.available) >= report_.bytes_written) return;
    throw Error(fmt::format("[{}] needs {} bytes more, but {} are free; make room or name another folder", store_.path().string(),
                            report_.bytes_written, space.available));
  }

  void build(const ConversionPlan& plan) {
    if (to_build_.empty()) return;
    std::vector<WeightJob> jobs;
    for (const std::size_t idx : to_build_) {
      jobs.push_back(plan.files[idx].job);
      store_.forget(jobs.back().path);
    }
    ConvertProgress progress = {.num_files = static_cast<std::int64_t>(jobs.size()), .num_bytes = report_.bytes_written};
    WeightWriterOptions writer = {.memory_limit = memory_limit(options_)};
    writer.on_file = [&](std::size_t job_idx, WrittenFile file) {
      const PlannedFile& planned = plan.files[to_build_[job_idx]];
      ManifestEntry entry = entry_of(file);
      entry.description = planned.description;
      entry.description_sha256 = sha256_of(planned.description);
      entry.source_files = planned.source_files;
      store_.add(planned.job.path, std::move(entry));
      ++progress.files_done;
    };
    writer.on_bytes = [&](std::int64_t bytes) {
      progress.bytes_done += bytes;
      progress.seconds = seconds();
      if (options_.on_progress) options_.on_progress(progress);
    };
    write_weights(jobs, store_.prepare_staging(), team_, writer);
  }

  void commit(ConversionPlan& plan) {
    StagedStore::Documents documents;
    for (const char* name : kCarriedFiles) {
      if (std::filesystem::exists(input_.folder / name)) documents[name] = read_text_file(input_.folder / name);
    }
    documents[kWeightConfigFile] = weight_config_text(options_, input_.digest, std::move(plan.model));
    std::set<std::string> tensors;
    for (const PlannedFile& file : plan.files) tensors.insert(file.job.path);
    if (store_.needs_commit(tensors, documents)) store_.commit(tensors, documents, team_);
  }

  Clock::time_point start_ = Clock::now();
  const ConversionInput& input_;
  const ConvertOptions& options_;
  ThreadTeam team_;
  StagedStore store_;
  ConvertReport report_;
  std::vector<std::size_t> to_build_;  ///< indices of files of the plan
};

}  // namespace

ConvertReport convert_from(const ConversionInput& input, const Path& store, const ConvertOptions& options) {
  check_options(options);
  return Conversion(input, store, options).run();
}

ConvertReport convert_checkpoint(const Path& checkpoint, const Path& store, const ConvertOptions& options) {
  const HfConfig hf = read_hf_config(checkpoint);
  const StateDict state_dict(checkpoint, hf);
  return convert_from({.hf = hf, .source = state_dict, .folder = checkpoint, .digest = conversion_digest(checkpoint, options)}, store,
                      options);
}

}  // namespace meshseek

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>

#include "base/error.hpp"
#include "base/file.hpp"
#include "cli/flags.hpp"
#include "cli/model_source.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "stage1_convert/export_hf.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {
namespace {

constexpr std::size_t kWorstShown = 10;

struct ConvertFlags {
  SourceFlags source = {};
  std::string store = {};
  std::string trust = "size-mtime";
  std::string memory_limit = {};
  std::string rank_local = {};
  std::string report = {};
  std::string to = "store";
  std::size_t num_jobs = 0;
  bool force = false;
  bool dry_run = false;
  bool explain = false;
  bool json = false;
};

std::int64_t whole_number(std::string_view digits, const std::string& flag, const std::string& expected) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc() && end == digits.data() + digits.size() && value >= 0) return value;
  throw UsageError(fmt::format("[{}] \"{}\"; expected {}", flag, digits, expected));
}

/// "512M", "2G" or bytes.
std::int64_t bytes_value(std::string_view text, const std::string& flag) {
  int shift = 0;
  if (text.ends_with("K") || text.ends_with("k")) shift = 10;
  if (text.ends_with("M") || text.ends_with("m")) shift = 20;
  if (text.ends_with("G") || text.ends_with("g")) shift = 30;
  const std::string expected = "bytes, or a number with K, M or G";
  const std::int64_t number = whole_number(text.substr(0, text.size() - (shift == 0 ? 0 : 1)), flag, expected);
  if (number > (std::numeric_limits<std::int64_t>::max() >> shift) || number == 0) {
    throw UsageError(fmt::format("[{}] \"{}\"; expected {}", flag, text, expected));
  }
  return number << shift;
}

/// "4" or "4-7".
LocalRanks ranks_value(std::string_view text) {
  const std::string expected = "a rank or a range of ranks, e.g. 4-7";
  const std::size_t dash = text.find('-');
  const std::int64_t first = whole_number(text.substr(0, dash), "--rank-local", expected);
  const std::int64_t last = dash == std::string_view::npos ? first : whole_number(text.substr(dash + 1), "--rank-local", expected);
  if (last < first) throw UsageError(fmt::format("[--rank-local] \"{}\" is reversed; expected {}", text, expected));
  return {first, last - first + 1};
}

double relative_error(const EncodingError& error) {
  return error.sum_squares > 0.0 ? std::sqrt(error.sum_squared_error / error.sum_squares) : std::sqrt(error.sum_squared_error);
}

/// Signal to noise in decibels; infinite when the stored values are the source's.
double sqnr(const EncodingError& error) {
  if (error.sum_squared_error == 0.0) return std::numeric_limits<double>::infinity();
  return 10.0 * std::log10(error.sum_squares / error.sum_squared_error);
}

std::vector<const ConvertedFile*> worst_first(const ConvertReport& report) {
  std::vector<const ConvertedFile*> files;
  for (const ConvertedFile& file : report.files) files.push_back(&file);
  std::stable_sort(files.begin(), files.end(),
                   [](const auto* a, const auto* b) { return relative_error(a->error) > relative_error(b->error); });
  return files;
}

Tree quantisation_report(const ConvertReport& report) {
  Tree::Array tensors;
  for (const ConvertedFile* file : worst_first(report)) {
    Tree tensor;
    tensor.set("path", Tree(file->path));
    tensor.set("dtype", Tree(file->dtype));
    tensor.set("shape", Tree(Tree::Array(file->shape.begin(), file->shape.end())));
    tensor.set("relative_error", Tree(relative_error(file->error)));
    tensor.set("max_error", Tree(file->error.max_error));
    tensor.set("sqnr_db", file->error.sum_squared_error == 0.0 ? Tree() : Tree(sqnr(file->error)));
    tensors.push_back(std::move(tensor));
  }
  Tree document;
  document.set("format_version", Tree(1));
  document.set("tensors", Tree(std::move(tensors)));
  return document;
}

std::string worst_table(const ConvertReport& report) {
  std::string table = fmt::format("{:<52} {:<10} {:>10} {:>10} {:>8}\n", "worst tensors", "dtype", "rel. error", "max error", "SQNR dB");
  const auto files = worst_first(report);
  for (std::size_t idx = 0; idx < std::min(kWorstShown, files.size()); ++idx) {
    const ConvertedFile& file = *files[idx];
    table += fmt::format("{:<52} {:<10} {:>10.2e} {:>10.2e} {:>8.1f}\n", file.path, file.dtype, relative_error(file.error),
                         file.error.max_error, sqnr(file.error));
  }
  return table;
}

Tree report_tree(const ConvertReport& report, const std::string& store) {
  Tree tree;
  tree.set("store", Tree(store));
  tree.set("tensors", Tree(static_cast<std::int64_t>(report.files.size())));
  tree.set("bytes", Tree(report.bytes));
  tree.set("bytes_written", Tree(report.bytes_written));
  tree.set("seconds", Tree(report.seconds));
  tree.set("mb_per_s", Tree(report.seconds <= 0.0 ? 0.0 : static_cast<double>(report.bytes_written) / 1e6 / report.seconds));
  tree.set("up_to_date", Tree(report.num_up_to_date));
  Tree built(Tree::Object{});
  for (const ConvertedFile& file : report.files) {
    if (!file.why.empty()) built.object().emplace_back(file.path, Tree(file.why));
  }
  tree.set("built", std::move(built));
  return tree;
}

void print_report(const ConvertFlags& flags, const ConvertReport& report) {
  if (!flags.report.empty()) write_file_atomically(flags.report, to_json(quantisation_report(report)));
  if (flags.json) return print(to_json(report_tree(report, flags.store)));
  if (flags.explain || flags.dry_run) {
    for (const ConvertedFile& file : report.files) {
      if (!file.why.empty()) print(fmt::format("{}: {}\n", file.path, file.why));
    }
  }
  if (!flags.report.empty()) print(worst_table(report));
  print((flags.dry_run ? "would be: " : "") + summary(report) + "\n");
}

ConvertOptions options_of(const ConvertFlags& flags) {
  ConvertOptions options = conversion_options(flags.source, flags.num_jobs);
  options.force = flags.force;
  options.dry_run = flags.dry_run;
  options.measures_error = !flags.report.empty();
  options.trust = flags.trust == "content" ? Trust::content : Trust::size_mtime;
  if (!flags.memory_limit.empty()) options.memory_limit = bytes_value(flags.memory_limit, "--memory-limit");
  if (!flags.rank_local.empty()) options.local = ranks_value(flags.rank_local);
  return options;
}

/// A store becomes one for another mesh; its element types stay.
ConvertReport convert_store(const ConvertFlags& flags, const Path& source, const ConvertOptions& options) {
  for (const auto& [flag, value] : {std::pair("--dtype", flags.source.dtype), std::pair("--dtype-policy", flags.source.dtype_policy)}) {
    if (value.empty()) continue;
    throw Error(fmt::format("[{}] is a store, whose element types stay; leave {} out or convert the checkpoint", source.string(), flag));
  }
  return reshard_store(source, flags.store, options);
}

void run_export(const ConvertFlags& flags) {
  if (!looks_like_store(flags.source.model)) {
    throw Error(fmt::format("[{}] is no store; --to hf turns a store into a checkpoint", flags.source.model));
  }
  const ExportReport report = export_hf(flags.source.model, flags.store);
  print(fmt::format("{} tensors, {}, {:.2f} s\n", report.num_tensors, format_bytes(report.bytes), report.seconds));
}

void run_convert(const ConvertFlags& flags) {
  if (flags.to == "hf") return run_export(flags);
  ConvertOptions options = options_of(flags);
  const Path source = flags.source.model;
  std::error_code ignored;
  if (!std::filesystem::is_directory(source, ignored)) {
    throw Error(fmt::format("[{}] there is no such folder; expected a checkpoint folder or a store", source.string()));
  }
  ConvertReport report;
  {
    ProgressLine line("convert");
    options.on_progress = show_conversion(line);
    report = looks_like_store(source) ? convert_store(flags, source, options) : convert_checkpoint(source, flags.store, options);
  }
  print_report(flags, report);
}

void add_flags(CLI::App& verb, ConvertFlags& flags) {
  add_conversion_flags(verb, flags.source);
  add_threads_flag(verb, "--jobs", flags.num_jobs);
  verb.add_option("--trust", flags.trust, "how a source is known to be unchanged: size-mtime (default) or content (SHA-256 of all of it)")
      ->type_name("HOW")
      ->check(CLI::IsMember({"size-mtime", "content"}));
  verb.add_option("--memory-limit", flags.memory_limit, "memory for buffers, e.g. 512M (default: 2G or a quarter of the memory)")
      ->type_name("SIZE");
  verb.add_option("--rank-local", flags.rank_local, "store the pieces of these devices only, e.g. 4-7, row by row of the mesh")
      ->type_name("RANKS");
  verb.add_option("--report", flags.report, "write each tensor's quantisation error to a JSON file, and show the ten worst")
      ->type_name("FILE");
  verb.add_option("--to", flags.to, "store (default), or hf: a store becomes a checkpoint of bfloat16 safetensors")
      ->type_name("FORM")
      ->check(CLI::IsMember({"store", "hf"}));
  verb.add_flag("--force", flags.force, "convert even what is up to date");
  verb.add_flag("--dry-run", flags.dry_run, "only say what would be converted, and why");
  verb.add_flag("--explain", flags.explain, "say for each converted file why it was");
  verb.add_flag("--json", flags.json, "print a JSON document");
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<ConvertFlags>();
  CLI::App* verb = app.add_subcommand("convert", "Converts a Hugging Face checkpoint into a store of tensor files");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder, or a store for another mesh")->required();
  verb->add_option("STORE", flags->store, "folder of the new store; made when missing")->required();
  add_flags(*verb, *flags);
  verb->footer("Example:\n  meshseek convert models/tiny-shakespeare store --dtype bfloat8_b");
  verb->callback([flags, &action] { action = [flags] { run_convert(*flags); }; });
}

}  // namespace meshseek::cli

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <span>

#include "base/error.hpp"
#include "base/file.hpp"
#include "cli/engine.hpp"
#include "cli/flags.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "config/serialise.hpp"
#include "stage3_run/tune.hpp"

namespace meshseek::cli {
namespace {

constexpr std::int64_t kTokens = 512;        ///< rows of a prefill, unless --tokens says otherwise
constexpr std::int64_t kDecodeContext = 64;  ///< capacity that a decode step needs at most

struct TuneFlags {
  SourceFlags source = {};
  ConfigFlags config = {};
  std::string mode = {};
  std::int64_t num_tokens = 0;  ///< 0: as many as kTokens, where the context has room for them
  TuneOptions options = {};
  std::size_t num_threads = 0;
  std::string output = {};
};

/// "program_rule.in0_block_w 8 -> 4, ..."
std::string describe_changes(const TunedLinear& linear) {
  std::string text;
  for (const ProgramChange& change : linear.changes)
    text += fmt::format("{}{}.{} {} -> {}", text.empty() ? "" : ", ", change.program, change.field, change.before, change.after);
  return text.empty() ? "-" : text;
}

std::string to_table(const std::vector<TunedLinear>& tuned) {
  std::size_t width = std::string_view("operator").size();
  for (const TunedLinear& linear : tuned) width = std::max(width, linear.path().size());
  std::string text = fmt::format("{:<{}} {:>7} {:>10} {:>10}  {}\n", "operator", width, "rows", "before ms", "after ms", "change");
  for (const TunedLinear& linear : tuned) {
    text += fmt::format("{:<{}} {:>7} {:>10.4f} {:>10.4f}  {}\n", linear.path(), width, linear.num_rows, 1e3 * linear.before_s,
                        1e3 * linear.after_s, describe_changes(linear));
  }
  return text;
}

/// The products of all layers together, or that there is nothing to gain.
std::string summary_line(const std::vector<TunedLinear>& tuned) {
  double before_s = 0.0;
  double after_s = 0.0;
  for (const TunedLinear& linear : tuned) {
    before_s += linear.before_s * static_cast<double>(linear.layers.size());
    after_s += linear.after_s * static_cast<double>(linear.layers.size());
  }
  const bool is_changed = std::any_of(tuned.begin(), tuned.end(), [](const TunedLinear& linear) { return !linear.changes.empty(); });
  if (!is_changed) return fmt::format("all layers {:.4f} ms; no other program is faster: the overlay changes nothing\n", 1e3 * before_s);
  return fmt::format("all layers {:.4f} ms -> {:.4f} ms\n", 1e3 * before_s, 1e3 * after_s);
}

/// Tokens of the prefill. \throws UsageError for --tokens with decode, Error when the model's context is shorter.
std::int64_t tokens_value(const TuneFlags& flags, Mode mode, const HfConfig& hf) {
  if (mode == Mode::decode && flags.num_tokens > 0)
    throw UsageError("[--tokens] decode has one row; expected --mode prefill with --tokens");
  if (flags.num_tokens > hf.max_position_embeddings) {
    throw Error(fmt::format("[--tokens] {}; expected at most max_position_embeddings, {}", flags.num_tokens, hf.max_position_embeddings));
  }
  return flags.num_tokens > 0 ? flags.num_tokens : std::min(kTokens, hf.max_position_embeddings);
}

void run_tune(const TuneFlags& flags) {
  const auto mode = from_tree<Mode>(Tree(flags.mode), "--mode");
  const ModelSource source(flags.source, flags.num_threads);
  if (source.plan() == ParallelPlan::pipeline && source.mesh().rows > 1)
    throw UsageError("[tune] the first row of a pipeline has not all kinds of layers; expected --plan users, or a mesh of one row");
  TuneOptions options = flags.options;
  options.num_tokens = tokens_value(flags, mode, source.hf_config());
  AtomicFile file(flags.output);  // a folder that is not there is found before the search
  const LoadedModel model =
      load_model(source, flags.config, {.num_threads = flags.num_threads}, mode == Mode::prefill ? options.num_tokens : kDecodeContext);
  std::string shown;
  options.before_measuring = [&](std::string_view path) {
    check_interrupted();
    if (path != shown && stderr_is_terminal()) print_note(fmt::format("measuring {}", path));
    shown = path;
  };
  const std::vector<TunedLinear> tuned = tune(*model.runner, mode, options);
  const std::string overlay = to_json(overlay_of(mode, tuned));
  file.write_at(0, std::as_bytes(std::span(overlay)));
  file.publish();
  print(to_table(tuned) + summary_line(tuned));
}

}  // namespace

void add_tune(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<TuneFlags>();
  CLI::App* verb = app.add_subcommand("tune", "Searches faster matmul programs on this machine and writes them as an overlay");
  verb->add_option("STORE", flags->source.model, "store, or a checkpoint folder")->required();
  verb->add_option("--mode", flags->mode, "prefill or decode: whose config the overlay changes")
      ->type_name("MODE")
      ->check(CLI::IsMember({"prefill", "decode"}))
      ->required();
  verb->add_option("-o", flags->output, "overlay to write")->type_name("OVERLAY")->required();
  verb->add_option("--tokens", flags->num_tokens, "tokens of the measured prefill (default 512)")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  verb->add_option("--reps", flags->options.repetitions, "measurements of each program, of which the shortest counts (default 5)")
      ->type_name("N")
      ->check(CLI::Range(1, 1000));
  verb->add_option("--seed", flags->options.seed, "chooses the tokens (default 0)")->type_name("N");
  add_config_flags(*verb, flags->config);
  add_strict_flag(*verb, flags->config);
  add_conversion_flags(*verb, flags->source);
  add_threads_flag(*verb, "--threads", flags->num_threads);
  verb->footer("Example:\n  meshseek tune models/tiny-shakespeare --mode decode -o decode-overlay.json");
  verb->callback([flags, &action] { action = [flags] { run_tune(*flags); }; });
}

}  // namespace meshseek::cli

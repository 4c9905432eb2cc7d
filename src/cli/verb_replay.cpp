#include <fmt/format.h>

#include <map>
#include <memory>

#include "base/error.hpp"
#include "cli/flags.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "stage3_run/replay.hpp"

namespace meshseek::cli {
namespace {

constexpr int kRepetitions = 5;

struct ReplayFlags {
  std::string capture = {};
  std::int64_t index = 0;
  CLI::Option* has_index = nullptr;
  std::vector<std::string> sets = {};
  std::string store = {};
  std::size_t num_threads = 0;
};

/// The first output that is not equal.
const ReplayedOutput* different_output(const ReplayedCall& call) {
  for (const ReplayedOutput& output : call.outputs) {
    if (!output.is_equal()) return &output;
  }
  return nullptr;
}

void replay_one(Replayer& replayer, const CaptureFile& capture, const ReplayFlags& flags) {
  const ReplayedCall result = replayer.replay(flags.index, flags.sets, kRepetitions);
  const std::string title = to_string(capture.call(flags.index));
  print(title + "\n");
  for (const std::string& assignment : flags.sets) print(fmt::format("  with {}\n", assignment));
  for (const ReplayedOutput& output : result.outputs) print(fmt::format("  {}\n", to_string(output)));
  print(fmt::format("  {:.4f} ms (median of {})\n", 1e3 * result.seconds, kRepetitions));
  const ReplayedOutput* different = different_output(result);
  // Whoever changes the config expects another result.
  if (different != nullptr && flags.sets.empty()) throw Error(fmt::format("[{}] {}: {}", flags.capture, title, to_string(*different)));
}

struct Total {
  std::int64_t num_calls = 0;
  double seconds = 0.0;
};

void replay_all(Replayer& replayer, const CaptureFile& capture, const ReplayFlags& flags) {
  std::map<std::string, Total> totals;
  std::string first;
  std::int64_t num_different = 0;
  bool all_bits = true;
  for (const CapturedCall& call : capture.calls()) {
    check_interrupted();
    const ReplayedCall result = replayer.replay(call.index, {}, kRepetitions);
    Total& total = totals[call.op];
    ++total.num_calls;
    total.seconds += result.seconds;
    for (const ReplayedOutput& output : result.outputs) all_bits = all_bits && output.equal_bits;
    const ReplayedOutput* different = different_output(result);
    if (different == nullptr) continue;
    ++num_different;
    if (first.empty()) first = fmt::format("{}: {}", to_string(call), to_string(*different));
  }
  for (const auto& [op, total] : totals) print(fmt::format("{:<18} {:>6} calls {:>10.4f} ms\n", op, total.num_calls, 1e3 * total.seconds));
  if (num_different > 0) {
    throw Error(fmt::format("[{}] {} of {} calls differ; the first: {}", flags.capture, num_different, capture.calls().size(), first));
  }
  print(fmt::format("{} calls, all {}\n", capture.calls().size(),
                    all_bits ? "with equal bits" : "equal within the tolerance for other kernels"));
}

void run_replay(const ReplayFlags& flags) {
  const bool one = flags.has_index->count() > 0;
  if (!one && !flags.sets.empty()) throw UsageError("[--set] changes one operator's config; expected --index, too");
  const CaptureFile capture(flags.capture);
  Device device(flags.num_threads);
  Replayer replayer(capture, flags.store, device);
  if (one)
    replay_one(replayer, capture, flags);
  else
    replay_all(replayer, capture, flags);
}

}  // namespace

void add_replay(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<ReplayFlags>();
  CLI::App* verb = app.add_subcommand("replay", "Runs captured operators again and compares");
  verb->add_option("CAPTURE", flags->capture, "file written by --capture")->required();
  flags->has_index =
      verb->add_option("--index", flags->index, "run only this call (default: all)")->type_name("N")->check(CLI::NonNegativeNumber);
  verb->add_option("--set", flags->sets,
                   "changes a field of this call's config, e.g. compute_kernel_config.math_fidelity=HiFi4; may be repeated")
      ->type_name("FIELD=VALUE")
      ->allow_extra_args(false);
  verb->add_option("--store", flags->store, "where the weights are now (default: where they were)")->type_name("STORE");
  add_threads_flag(*verb, "--threads", flags->num_threads);
  verb->footer("Example:\n  meshseek replay ops.jsonl --index 12");
  verb->callback([flags, &action] { action = [flags] { run_replay(*flags); }; });
}

}  // namespace meshseek::cli

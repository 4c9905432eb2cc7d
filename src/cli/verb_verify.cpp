#include <fmt/format.h>

#include <memory>

#include "base/error.hpp"
#include "cli/flags.hpp"
#include "cli/progress.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "stage1_convert/verify.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {
namespace {

struct VerifyFlags {
  std::string store = {};
  std::size_t num_threads = 0;
  bool json = false;
};

Tree report_tree(const VerifyReport& report, const std::string& store) {
  Tree::Array problems;
  for (const StoreProblem& problem : report.problems) {
    Tree entry;
    entry.set("path", Tree(problem.path));
    entry.set("what", Tree(problem.what));
    problems.push_back(std::move(entry));
  }
  Tree tree;
  tree.set("store", Tree(store));
  tree.set("files", Tree(report.num_files));
  tree.set("bytes", Tree(report.bytes));
  tree.set("seconds", Tree(report.seconds));
  tree.set("problems", Tree(std::move(problems)));
  return tree;
}

void run_verify(const VerifyFlags& flags) {
  if (!looks_like_store(flags.store)) throw Error(fmt::format("[{}] is no store; expected what `meshseek convert` wrote", flags.store));
  ThreadTeam team(flags.num_threads);
  VerifyReport report;
  {
    ProgressLine line("verify");
    report = verify_store(flags.store, team, [&](const VerifyProgress& state) {
      line.update({state.files_done, state.bytes_done, state.num_bytes, state.seconds});
    });
  }
  if (flags.json) {
    print(to_json(report_tree(report, flags.store)));
  } else {
    for (const StoreProblem& problem : report.problems) print(fmt::format("{}: {}\n", problem.path, problem.what));
    print(fmt::format("{} files, {}, {:.2f} s, {:.2f} GB/s, {} problems\n", report.num_files, format_bytes(report.bytes), report.seconds,
                      report.seconds > 0.0 ? static_cast<double>(report.bytes) / 1e9 / report.seconds : 0.0, report.problems.size()));
  }
  if (report.problems.empty()) return;
  throw Error(fmt::format("[{}] {} problems; remove these files and run `meshseek convert` again: it makes what is missing", flags.store,
                          report.problems.size()));
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<VerifyFlags>();
  CLI::App* verb = app.add_subcommand("verify", "Checks every file of a store: presence, size, checksum, shape");
  verb->add_option("STORE", flags->store, "folder of the store")->required();
  add_threads_flag(*verb, "--threads", flags->num_threads);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek verify store");
  verb->callback([flags, &action] { action = [flags] { run_verify(*flags); }; });
}

}  // namespace meshseek::cli

#include "cli/program.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <functional>
#include <new>
#include <string>

#include "base/error.hpp"
#include "base/host_name.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "mesh/last_words.hpp"
#include "mesh/mpi_mesh.hpp"

namespace meshseek::cli {
namespace {

constexpr int kDone = 0;
constexpr int kWorkFailed = 1;
constexpr int kUsage = 2;
constexpr int kInterrupted = 130;

/// The names of all verbs, for the error about one that does not exist.
std::string verb_names(const CLI::App& app) {
  std::string names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    names += (names.empty() ? "" : ", ") + verb->get_name();
  return names;
}

int parse_and_run(int argc, const char* const* argv) {
  CLI::App app("Runs models of the DeepSeek family in three stages: convert, configure, run.", "meshseek");
  app.require_subcommand(1);
  app.footer("Example:\n  meshseek run models/tiny-shakespeare -p 'HAMLET.'");
  std::function<void()> action;
  add_convert(app, action);
  add_configure(app, action);
  add_run(app, action);
  add_logits(app, action);
  add_score(app, action);
  add_tokenize(app, action);
  add_template(app, action);
  add_inspect(app, action);
  add_explain(app, action);
  add_replay(app, action);
  add_tune(app, action);
  add_bench(app, action);
  add_plan(app, action);
  add_verify(app, action);
  add_generate_checkpoint(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return kDone;
  } catch (const CLI::ParseError& error) {
    const auto verbs = app.get_subcommands();
    if (!verbs.empty()) throw UsageError(std::string(error.what()) + "; see meshseek " + verbs.front()->get_name() + " --help");
    throw UsageError((argc > 1 ? "there is no verb \"" + std::string(argv[1]) + "\"" : "a verb is missing") + "; expected one of " +
                     verb_names(app));
  }
  action();
  return is_interrupted() ? kInterrupted : kDone;
}

/// Ranks of a launcher that fail before they have met mostly fail alike (a wrong flag, a missing folder): rank 0 speaks, and when it has
/// ended the launcher ends the others, which wait for their turns meanwhile. What a rank alone has found it tells in its turn.
std::string in_turn(const char* message) {
  const std::int64_t rank = launched_rank();
  if (rank == 0) return message;
  wait_for_turn(rank);
  return fmt::format("{} (rank {} on host {})", message, rank, host_name());
}

int fail(const char* message, int exit_code) {
  print_error(in_turn(message));
  return exit_code;
}

}  // namespace

int run_program(int argc, const char* const* argv) {
  install_signal_handlers();
  try {
    return parse_and_run(argc, argv);
  } catch (const BrokenPipe&) {
    return kDone;  // the reader has seen enough
  } catch (const Interrupted&) {
    return kInterrupted;
  } catch (const UsageError& error) {
    return fail(error.what(), kUsage);
  } catch (const std::bad_alloc&) {
    return fail("out of memory; expected more free memory or a smaller model or context", kWorkFailed);
  } catch (const std::exception& error) {
    return fail(error.what(), kWorkFailed);
  }
}

}  // namespace meshseek::cli

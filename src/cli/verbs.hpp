/// The verbs of the command line, one file each (verb_<name>.cpp).
#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace meshseek::cli {

/// What a chosen verb does once the whole command line has been parsed.
using Action = std::function<void()>;

/// Each declares its verb and its flags, and puts the work into `action` when the verb was chosen.
void add_convert(CLI::App& app, Action& action);
void add_configure(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_logits(CLI::App& app, Action& action);
void add_score(CLI::App& app, Action& action);
void add_tokenize(CLI::App& app, Action& action);
void add_template(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_explain(CLI::App& app, Action& action);
void add_replay(CLI::App& app, Action& action);
void add_tune(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_plan(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_generate_checkpoint(CLI::App& app, Action& action);

}  // namespace meshseek::cli

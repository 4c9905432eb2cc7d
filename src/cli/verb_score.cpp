#include <fmt/format.h>

#include <memory>

#include "base/error.hpp"
#include "base/file.hpp"
#include "cli/engine.hpp"
#include "cli/flags.hpp"
#include "cli/mesh_session.hpp"
#include "cli/prompt.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "generate/score.hpp"

namespace meshseek::cli {
namespace {

struct ScoreFlags {
  SourceFlags source = {};
  ConfigFlags config = {};
  std::string text = {};
  std::string reference = {};
  ScoreOptions options = {};
  DeviceFlags devices = {};
  bool json = false;
};

Tree score_tree(const TextScore& score) {
  Tree tree;
  tree.set("scored", Tree(score.num_scored));
  tree.set("windows", Tree(score.num_windows));
  tree.set("mean_nll", Tree(score.mean_nll()));
  tree.set("perplexity", Tree(score.perplexity()));
  tree.set("top1_accuracy", Tree(score.top1_accuracy()));
  return tree;
}

Tree result_tree(const ScoreResult& result, std::size_t num_tokens, const ScoreFlags& flags) {
  Tree tree;
  tree.set("tokens", Tree(static_cast<std::int64_t>(num_tokens)));
  tree.set("ctx", Tree(flags.options.ctx));
  const Tree score = score_tree(result.model);
  for (const auto& [name, value] : score.as_object("score")) tree.set(name, value);
  if (flags.reference.empty()) return tree;
  Tree reference = score_tree(result.reference);
  reference.set("kl_divergence", Tree(result.agreement.mean_kl()));
  reference.set("top1_agreement", Tree(result.agreement.top1()));
  reference.set("top5_agreement", Tree(result.agreement.top5()));
  tree.set("reference", std::move(reference));
  return tree;
}

void print_result(const ScoreResult& result, bool has_reference) {
  const TextScore& score = result.model;
  print(fmt::format("perplexity {:.4f}, mean negative log likelihood {:.5f}, first choice right {:.2f} %, {} tokens in {} windows\n",
                    score.perplexity(), score.mean_nll(), 100.0 * score.top1_accuracy(), score.num_scored, score.num_windows));
  if (!has_reference) return;
  const Agreement& agreement = result.agreement;
  print(fmt::format("reference perplexity {:.4f}, KL divergence {:.6f}, top-1 agreement {:.2f} %, top-5 agreement {:.2f} %\n",
                    result.reference.perplexity(), agreement.mean_kl(), 100.0 * agreement.top1(), 100.0 * agreement.top5()));
}

void score_model(const ScoreFlags& flags, const ModelSource& source, const FrontProcess& front) {
  if (front.communicator && !flags.reference.empty())
    throw Error("[--reference] the ranks of a launcher hold one model; expected no launcher, or the two scores one after the other");
  const ModelText text = read_model_text(source.folder(), source.hf_config());
  const std::vector<std::int64_t> ids = text.need_tokenizer().encode(read_text_file(flags.text), false);
  check_windows(ids.size(), flags.options.ctx, source.hf_config().max_position_embeddings);
  const LoadedModel model = load_model(source, flags.config, flags.devices, flags.options.ctx, front);
  LoadedModel reference;
  if (!flags.reference.empty()) {
    const ModelSource reference_source({.model = flags.reference, .mesh = flags.source.mesh, .plan = flags.source.plan},
                                       flags.devices.num_threads);
    reference = load_model(reference_source, {}, flags.devices, flags.options.ctx);
  }
  ScoreOptions options = flags.options;
  const bool shows_progress = stderr_is_terminal();
  options.on_window = [&](std::int64_t window_idx, std::int64_t num_windows) {
    check_interrupted();
    if (shows_progress) rewrite_note(fmt::format("score: window {} of {}", window_idx + 1, num_windows));
  };
  const ScoreResult result = score_text(*model.runner, reference.runner.get(), ids, options);
  if (shows_progress) rewrite_note("");
  if (flags.json)
    print(to_json(result_tree(result, ids.size(), flags)));
  else
    print_result(result, reference.runner != nullptr);
}

void run_score(const ScoreFlags& flags) {
  const ModelSource source(flags.source, flags.devices.num_threads);
  run_on_mesh(source, flags.config, flags.devices, [&](const FrontProcess& front) { score_model(flags, source, front); });
}

}  // namespace

void add_score(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<ScoreFlags>();
  CLI::App* verb = app.add_subcommand("score", "Perplexity of a text, and agreement with a reference");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder or store")->required();
  verb->add_option("--text", flags->text, "text file to score")->type_name("FILE")->required();
  verb->add_option("--ctx", flags->options.ctx, "tokens of a window; each is a fresh context (default 512)")
      ->type_name("N")
      ->check(CLI::Range(2, 1 << 30));
  verb->add_option("--reference", flags->reference, "checkpoint folder or store to compare with")->type_name("STORE");
  verb->add_option("--max-tokens", flags->options.max_tokens, "score only the first N tokens of the text")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  add_config_flags(*verb, flags->config);
  add_strict_flag(*verb, flags->config);
  add_conversion_flags(*verb, flags->source);
  add_device_flags(*verb, flags->devices);
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek score models/tiny-shakespeare --text models/tiny-shakespeare/heldout.txt --ctx 512");
  verb->callback([flags, &action] { action = [flags] { run_score(*flags); }; });
}

}  // namespace meshseek::cli

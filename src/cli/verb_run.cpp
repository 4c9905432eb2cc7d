#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "base/file.hpp"
#include "cli/engine.hpp"
#include "cli/flags.hpp"
#include "cli/mesh_session.hpp"
#include "cli/prompt.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"
#include "generate/generator.hpp"
#include "stage3_run/trace.hpp"

namespace meshseek::cli {
namespace {

struct RunFlags {
  SourceFlags source = {};
  ConfigFlags config = {};
  std::string prompt = {};
  std::string file = {};
  std::string ids = {};
  CLI::Option* has_prompt = nullptr;
  CLI::Option* has_file = nullptr;
  CLI::Option* has_ids = nullptr;
  CLI::Option* has_temperature = nullptr;
  std::int64_t max_new_tokens = 128;
  SamplingParams sampling = {};
  std::vector<std::string> stop = {};
  bool ignore_eos = false;
  DeviceFlags devices = {};
  bool json = false;
  std::string capture = {};
  std::string trace_file = {};
};

Tree ids_tree(const std::vector<std::int64_t>& ids) {
  Tree::Array array;
  for (const std::int64_t id : ids) array.emplace_back(id);
  return Tree(std::move(array));
}

/// The prompt's ids, from whichever of -p, -f, --ids and stdin was used.
std::vector<std::int64_t> read_prompt(const RunFlags& flags, const ModelText& text) {
  if (flags.has_ids->count() > 0) return ids_value(flags.ids, "--ids");
  text.need_tokenizer();
  if (flags.has_prompt->count() > 0) return text.encode_prompt(flags.prompt);
  if (flags.has_file->count() > 0) return text.encode_prompt(read_text_file(flags.file));
  if (stdin_is_terminal()) throw UsageError("[run] there is no prompt; give -p TEXT, -f FILE or --ids, or write to stdin");
  return text.encode_prompt(read_stdin());
}

SamplingParams read_sampling(const RunFlags& flags) {
  SamplingParams sampling = flags.sampling;
  const bool restricts = sampling.top_k != 0 || sampling.top_p != 1.0 || sampling.min_p != 0.0;
  // A filter without a temperature asks for sampling all the same.
  if (restricts && flags.has_temperature->count() == 0) sampling.temperature = 1.0;
  try {
    check_sampling(sampling);
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
  return sampling;
}

void check_stops(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (stop.empty()) throw UsageError("[--stop] is empty; expected at least one character");
  }
}

Tree result_tree(const GenerateResult& result, const std::vector<std::int64_t>& prompt_ids, double load_s) {
  Tree timings;
  timings.set("load_s", Tree(load_s));
  timings.set("prefill_s", Tree(result.timings.prefill_s));
  timings.set("prefill_tok_s", Tree(result.timings.prefill_tok_s));
  timings.set("decode_tok_s", Tree(result.timings.decode_tok_s));
  Tree tree;
  tree.set("text", Tree(result.text));
  tree.set("ids", ids_tree(result.ids));
  tree.set("prompt_ids", ids_tree(prompt_ids));
  tree.set("finish_reason", Tree(result.finish_reason));
  tree.set("timings", std::move(timings));
  return tree;
}

/// Generates with the text on stdout as it comes; ids where there is no tokenizer.
GenerateResult stream_text(Runner& runner, const ModelText& text, const GenerateRequest& request) {
  bool ends_line = true;
  GenerateResult result = generate(runner, text.tokenizer_or_null(), request, [&](std::string_view piece) {
    ends_line = piece.ends_with('\n');
    print(piece);
  });
  if (!text.tokenizer)
    print(fmt::format("{}\n", fmt::join(result.ids, ",")));
  else if (!ends_line || result.text.empty())
    print("\n");
  return result;
}

void generate_text(const RunFlags& flags, const ModelSource& source, const SamplingParams& sampling, const FrontProcess& front) {
  const ModelText text = read_model_text(source.folder(), source.hf_config());
  GenerateRequest request;
  request.prompt_ids = read_prompt(flags, text);
  check_prompt(request.prompt_ids, source.hf_config());
  request.max_new_tokens = flags.max_new_tokens;
  request.sampling = sampling;
  request.stop = flags.stop;
  request.ignore_eos = flags.ignore_eos;
  request.eos_ids = text.eos_ids;
  request.is_cancelled = is_interrupted;

  const std::int64_t most_new = source.hf_config().max_position_embeddings;
  const std::int64_t capacity = static_cast<std::int64_t>(request.prompt_ids.size()) + std::min(flags.max_new_tokens, most_new);
  const LoadedModel model = load_model(source, flags.config, flags.devices, capacity, front);
  const auto capture = start_capture(model, flags.capture);
  if (!flags.trace_file.empty()) model.runner->start_trace();
  const GenerateResult result =
      flags.json ? generate(*model.runner, text.tokenizer_or_null(), request) : stream_text(*model.runner, text, request);
  if (!flags.trace_file.empty()) write_trace(flags.trace_file, model.runner->collect_trace());
  if (flags.json) return print(to_json(result_tree(result, request.prompt_ids, model.load_s)));
  print_note(fmt::format("load {:.2f} s, prefill {} tokens in {:.3f} s ({:.1f} tok/s), decode {} tokens ({:.1f} tok/s), {}", model.load_s,
                         request.prompt_ids.size(), result.timings.prefill_s, result.timings.prefill_tok_s, result.ids.size(),
                         result.timings.decode_tok_s, result.finish_reason));
}

void run_run(const RunFlags& flags) {
  const SamplingParams sampling = read_sampling(flags);
  check_stops(flags.stop);
  const ModelSource source(flags.source, flags.devices.num_threads);
  if (!flags.capture.empty()) check_one_device("--capture", source.mesh());
  run_on_mesh(source, flags.config, flags.devices, [&](const FrontProcess& front) { generate_text(flags, source, sampling, front); });
}

void add_sampling_flags(CLI::App& verb, RunFlags& flags) {
  verb.add_option("-n", flags.max_new_tokens, "most tokens to generate (default 128)")->type_name("N")->check(CLI::NonNegativeNumber);
  flags.has_temperature =
      verb.add_option("--temperature", flags.sampling.temperature, "0 (default): always the most probable token")->type_name("T");
  verb.add_option("--top-p", flags.sampling.top_p, "keep the most probable tokens that sum up to P")->type_name("P");
  verb.add_option("--top-k", flags.sampling.top_k, "keep the K most probable tokens; 0: all")->type_name("K");
  verb.add_option("--min-p", flags.sampling.min_p, "keep tokens with at least P times the probability of the best")->type_name("P");
  verb.add_option("--seed", flags.sampling.seed, "of the random choice (default 0)")->type_name("N");
  verb.add_option("--stop", flags.stop, "text that ends the continuation and is not shown; may be repeated")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  verb.add_flag("--ignore-eos", flags.ignore_eos, "go on after the end token");
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* verb = app.add_subcommand("run", "Continues a prompt");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder or store (default: the installed tiny-shakespeare)");
  flags->has_prompt = verb->add_option("-p", flags->prompt, "prompt")->type_name("TEXT");
  flags->has_file = verb->add_option("-f", flags->file, "file with the prompt (default: stdin)")->type_name("FILE");
  flags->has_ids = verb->add_option("--ids", flags->ids, "prompt as token ids, taken as they are")->type_name("1,2,3");
  flags->has_prompt->excludes(flags->has_file)->excludes(flags->has_ids);
  flags->has_file->excludes(flags->has_ids);
  add_sampling_flags(*verb, *flags);
  add_config_flags(*verb, flags->config);
  add_strict_flag(*verb, flags->config);
  verb->add_flag("--prefault", flags->config.prefault, "read all weights from the disk before the first token");
  add_conversion_flags(*verb, flags->source);
  add_device_flags(*verb, flags->devices);
  add_capture_flag(*verb, flags->capture);
  verb->add_option("--trace-file", flags->trace_file, "writes when each operator of each device ran, for chrome://tracing or Perfetto")
      ->type_name("FILE")
      ->excludes("--capture");
  verb->add_flag("--json", flags->json, "print a JSON document");
  verb->footer("Example:\n  meshseek run models/tiny-shakespeare -p 'HAMLET.' -n 64 --temperature 0.7 --top-p 0.95");
  verb->callback([flags, &action] { action = [flags] { run_run(*flags); }; });
}

}  // namespace meshseek::cli

#include <fmt/format.h>

#include <charconv>
#include <memory>

#include "base/error.hpp"
#include "base/file.hpp"
#include "cli/engine.hpp"
#include "cli/flags.hpp"
#include "cli/logits_collector.hpp"
#include "cli/mesh_session.hpp"
#include "cli/prompt.hpp"
#include "cli/terminal.hpp"
#include "cli/verbs.hpp"

namespace meshseek::cli {
namespace {

struct LogitsFlags {
  SourceFlags source = {};
  ConfigFlags config = {};
  std::string ids = {};
  std::string ids_file = {};
  std::string positions = "all";
  std::string via = "prefill";
  LogitsWanted wanted = {};
  DeviceFlags devices = {};
  std::string output = {};
  std::string capture = {};
};

LogitsVia via_value(const std::string& text) {
  if (text == "prefill") return {};
  if (text == "decode") return {.decode = true};
  constexpr std::string_view kChunks = "chunks:";
  LogitsVia via;
  if (text.starts_with(kChunks)) {
    const auto [end, error] = std::from_chars(text.data() + kChunks.size(), text.data() + text.size(), via.chunk);
    if (error == std::errc() && end == text.data() + text.size() && via.chunk > 0) return via;
  }
  throw UsageError(fmt::format("[--via] \"{}\"; expected prefill, decode or chunks:N", text));
}

std::vector<std::int64_t> read_ids(const LogitsFlags& flags) {
  if (!flags.ids_file.empty()) return ids_value(read_text_file(flags.ids_file), "--ids-file");
  if (!flags.ids.empty()) return ids_value(flags.ids, "--ids");
  throw UsageError("[logits] there are no token ids; give --ids 1,2,3 or --ids-file FILE");
}

void write_logits(const LogitsFlags& flags, const ModelSource& source, const std::vector<std::int64_t>& ids, LogitsVia via,
                  const FrontProcess& front) {
  check_prompt(ids, source.hf_config());
  if (flags.wanted.mtp && source.hf_config().num_nextn_predict_layers == 0) {
    throw Error("[--mtp] the model has no MTP module (num_nextn_predict_layers is 0)");
  }
  if (flags.wanted.mtp && ids.size() < 2) throw Error("[--mtp] needs at least two ids: row i sees token i+1");
  if (flags.wanted.cache) check_one_device("--cache", source.mesh());
  if (!flags.capture.empty()) check_one_device("--capture", source.mesh());
  const auto capacity = static_cast<std::int64_t>(ids.size());
  const LoadedModel model = load_model(source, flags.config, flags.devices, capacity, front);
  if (flags.wanted.cache) check_one_device("--cache", model.runner->mesh());
  const auto capture = start_capture(model, flags.capture);
  LogitsWanted wanted = flags.wanted;
  wanted.only_last = flags.positions == "last";
  LogitsCollector collector(*model.runner, wanted);
  collector.run(ids, via);
  collector.write(flags.output);
  for (const auto& [name, shape] : collector.shapes()) print(fmt::format("{} {}\n", name, to_string(shape)));
}

void run_logits(const LogitsFlags& flags) {
  const LogitsVia via = via_value(flags.via);
  const std::vector<std::int64_t> ids = read_ids(flags);
  const ModelSource source(flags.source, flags.devices.num_threads);
  run_on_mesh(source, flags.config, flags.devices, [&](const FrontProcess& front) { write_logits(flags, source, ids, via, front); });
}

}  // namespace

void add_logits(CLI::App& app, Action& action) {
  const auto flags = std::make_shared<LogitsFlags>();
  CLI::App* verb = app.add_subcommand("logits", "Writes logits, and on request what led to them, as a safetensors file");
  verb->add_option("MODEL", flags->source.model, "checkpoint folder or store")->required();
  auto* ids = verb->add_option("--ids", flags->ids, "token ids")->type_name("1,2,3");
  verb->add_option("--ids-file", flags->ids_file, "file with token ids, separated by commas or white space")
      ->type_name("FILE")
      ->excludes(ids);
  verb->add_option("--positions", flags->positions, "logits of all (default) or only the last position")
      ->type_name("WHICH")
      ->check(CLI::IsMember({"all", "last"}));
  verb->add_option("--via", flags->via, "prefill (default), decode or chunks:N")->type_name("HOW");
  verb->add_flag("--hidden", flags->wanted.hidden, "hidden.0: embedding; hidden.N+1: residual stream after layer N");
  verb->add_flag("--cache", flags->wanted.cache, "cache.N: latent and rotated key of layer N");
  verb->add_flag("--router", flags->wanted.router, "router.N.indices, router.N.weights: chosen experts of layer N");
  verb->add_flag("--mtp", flags->wanted.mtp, "mtp_logits: predictions of the multi-token prediction module");
  add_config_flags(*verb, flags->config);
  add_strict_flag(*verb, flags->config);
  add_conversion_flags(*verb, flags->source);
  add_device_flags(*verb, flags->devices);
  add_capture_flag(*verb, flags->capture);
  verb->add_option("-o", flags->output, "safetensors file to write")->type_name("OUT")->required();
  verb->footer("Example:\n  meshseek logits models/tiny-shakespeare --ids 0,2001,651 --hidden -o out.safetensors");
  verb->callback([flags, &action] { action = [flags] { run_logits(*flags); }; });
}

}  // namespace meshseek::cli

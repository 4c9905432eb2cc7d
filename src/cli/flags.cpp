#include "cli/flags.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/error.hpp"
#include "base/file.hpp"

namespace meshseek::cli {

void add_mesh_flags(CLI::App& verb, SourceFlags& flags) {
  verb.add_option("--mesh", flags.mesh, "mesh of devices, rows x columns (default 1x1)")->type_name("RxC");
  verb.add_option("--plan", flags.plan, "what the rows of the mesh share out: users (default), or pipeline: layers")
      ->type_name("PLAN")
      ->check(CLI::IsMember({"users", "pipeline"}));
}

void add_conversion_flags(CLI::App& verb, SourceFlags& flags) {
  verb.add_option("--dtype", flags.dtype, "element type of the projections: bfloat8_b (default), bfloat4_b, bfloat16, float32")
      ->type_name("TYPE");
  verb.add_option("--dtype-policy", flags.dtype_policy, "JSON file with element types per operator and layer range")->type_name("FILE");
  add_mesh_flags(verb, flags);
  add_deterministic_flag(verb, flags);
}

void add_deterministic_flag(CLI::App& verb, SourceFlags& flags) {
  verb.add_flag("--deterministic", flags.deterministic,
                "the same bits on every mesh, with any number of threads, in any batch, for a prompt in any pieces; slower");
}

void add_overlay_flags(CLI::App& verb, ConfigFlags& flags) {
  verb.add_option("--overlay", flags.overlays, "JSON file that changes operator configs; may be repeated")
      ->type_name("FILE")
      ->allow_extra_args(false);
  verb.add_option("--set", flags.sets, "changes one field, e.g. model.layers.0.mlp.w1.dtype=float32; may be repeated")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
}

void add_config_flags(CLI::App& verb, ConfigFlags& flags) {
  verb.add_option("--prefill-config", flags.prefill_config, "model config for prefill instead of the standard one")->type_name("FILE");
  verb.add_option("--decode-config", flags.decode_config, "model config for decode instead of the standard one")->type_name("FILE");
  add_overlay_flags(verb, flags);
}

void add_strict_flag(CLI::App& verb, ConfigFlags& flags) {
  verb.add_flag("--strict", flags.strict, "refuse a config that was made for another number of cores");
}

void add_threads_flag(CLI::App& verb, const char* name, std::size_t& num_threads) {
  verb.add_option(name, num_threads, "threads (default: one per usable core)")->type_name("N")->check(CLI::Range(1, 4096));
}

void add_device_flags(CLI::App& verb, DeviceFlags& flags) {
  verb.add_option("--bind", flags.bind,
                  "where threads run: none (default), numa (default for several devices on several memory nodes) or cores")
      ->type_name("HOW")
      ->check(CLI::IsMember({"none", "numa", "cores"}));
  verb.add_option("--threads", flags.num_threads, "threads of each device (default: an equal share of the usable cores)")
      ->type_name("N")
      ->check(CLI::Range(1, 4096));
}

std::optional<DataType> dtype_value(const std::string& text) {
  if (text.empty()) return std::nullopt;
  for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b, DataType::bfloat16, DataType::float32}) {
    if (text == to_string(dtype)) return dtype;
  }
  throw UsageError(fmt::format("[--dtype] \"{}\"; expected bfloat8_b, bfloat4_b, bfloat16 or float32", text));
}

MeshShape mesh_value(const std::string& text) {
  if (text.empty()) return {};
  try {
    return parse_mesh_shape(text);
  } catch (const Error& error) {
    throw UsageError(fmt::format("[--mesh] {}", error.what()));
  }
}

ParallelPlan plan_value(const std::string& text) { return text == "pipeline" ? ParallelPlan::pipeline : ParallelPlan::users; }

std::optional<Bind> bind_value(const std::string& text) {
  for (const auto& [bind, name] : enum_names(Bind{})) {
    if (text == name) return bind;
  }
  return std::nullopt;
}

std::vector<std::int64_t> ids_value(std::string_view text, const std::string& flag) {
  constexpr std::string_view kSeparators = ", \t\r\n[]";
  std::vector<std::int64_t> ids;
  while (true) {
    const std::size_t begin = text.find_first_not_of(kSeparators);
    if (begin == std::string_view::npos) return ids;
    text.remove_prefix(begin);
    const std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || id < 0) {
      throw UsageError(
          fmt::format("[{}] \"{}\" is no token id; expected whole numbers from 0, separated by commas", flag, word.substr(0, 40)));
    }
    ids.push_back(id);
    text.remove_prefix(word.size());
  }
}

Tree read_json_file(const std::string& path) { return parse_json(read_text_file(path), path); }

std::vector<Overlay> read_overlays(const ConfigFlags& flags) {
  std::vector<Overlay> overlays;
  for (const std::string& path : flags.overlays) overlays.push_back({.tree = read_json_file(path), .name = "overlay " + path});
  return overlays;
}

}  // namespace meshseek::cli

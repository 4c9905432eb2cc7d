#include "cli/flags.hpp"

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

void add_capture_flag(CLI::App& verb, std::string& file) {
  verb.add_option("--capture", file, "records every operator call, for replay and inspect --compare")->type_name("FILE");
}

}  // namespace meshseek::cli

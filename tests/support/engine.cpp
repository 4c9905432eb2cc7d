#include "tests/support/engine.hpp"

namespace meshseek::testing {

Engine::Engine(const Path& checkpoint, const EngineOptions& options) : store_(folder_.path() / "store") {
  convert_checkpoint(
      checkpoint, store_,
      {.mesh = options.mesh, .deterministic = options.deterministic, .dtype = options.dtype, .dtype_policy = options.dtype_policy});
  const HfConfig hf = read_hf_config(checkpoint);
  const Tree weight_config = read_store_info(store_).weight_config;
  // The instruction set decides what is multiplied how; the rest of the device stays the same on all machines.
  const MeshDevice mesh = {.shape = options.mesh, .device = {.isa = probe_device().isa}};
  const auto configure = [&](Mode mode, std::vector<std::string> sets) {
    return make_model_config(hf, {.mode = mode,
                                  .mesh = mesh,
                                  .deterministic = options.deterministic,
                                  .weight_dtype = options.dtype,
                                  .weight_config = weight_config,
                                  .sets = std::move(sets)});
  };
  std::vector<std::string> prefill_sets = options.sets;
  prefill_sets.insert(prefill_sets.end(), options.prefill_sets.begin(), options.prefill_sets.end());
  runner_ = std::make_unique<Runner>(store_, configure(Mode::prefill, prefill_sets), configure(Mode::decode, options.sets),
                                     RunnerOptions{.num_threads = options.num_threads, .max_tokens = options.max_tokens});
}

std::vector<std::string> exact_arithmetic() { return {"model.**.math_fidelity=HiFi4", "model.**.dtype=float32"}; }

}  // namespace meshseek::testing

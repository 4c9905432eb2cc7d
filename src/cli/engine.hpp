/// Stages 2 and 3 behind one call.
#pragma once
#include <cstdint>
#include <memory>

#include "cli/flag_values.hpp"
#include "cli/model_source.hpp"
#include "stage2_configure/configure.hpp"
#include "stage3_run/capture_writer.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {

/// The standard config of one mode, or the one that --prefill-config / --decode-config names, with overlays and assignments.
/// \param weight_config of the store, when it is known already; null: every projection has the standard dtype
/// \param provenance when given: filled with who set each field
Tree model_config(const ModelSource& source, const ConfigFlags& flags, Mode mode, const Tree& weight_config = {},
                  Provenance* provenance = nullptr);

/// What source and flags say of the config of one mode; the device is the caller's affair.
ConfigureOptions configure_options(const ModelSource& source, const ConfigFlags& flags, Mode mode);

/// Threads that each device will have where all are in this process; 0: one per usable core.
std::size_t cores_of_device(const MeshShape& mesh, const DeviceFlags& flags);

/// A store, converted when necessary, and its configs.
struct PreparedModel {
  Path store = {};
  Tree prefill_config = {};
  Tree decode_config = {};
};
/// \param num_cores of each device, which standard configs are made for
PreparedModel prepare_model(const ModelSource& source, ConfigFlags flags, std::size_t num_cores);

struct LoadedModel {
  std::unique_ptr<Runner> runner = {};
  double load_s = 0.0;  ///< of a finished store; conversion not counted
  Path store = {};
};

/// Configures, converts when necessary, loads. \param capacity tokens of the context; 0: max_position_embeddings
/// MESHSEEK_LOG=ops prints every executed operator to stderr, MESHSEEK_LOG=plan each distinct plan of an operator once.
/// \param process this one as the first of several; empty: alone
LoadedModel load_model(const ModelSource& source, ConfigFlags flags, const DeviceFlags& devices, std::int64_t capacity,
                       const FrontProcess& process = {});

/// \throws Error: `flag`, which shows one device, with a mesh of several
void check_one_device(const std::string& flag, const MeshShape& mesh);
/// Records every operator from now on while it lives; null when `file` is empty. \throws Error: the file exists, not writable.
std::unique_ptr<RunnerCapture> start_capture(const LoadedModel& model, const std::string& file);

}  // namespace meshseek::cli

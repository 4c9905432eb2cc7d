/// Flags that several verbs share.
#pragma once
#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>

#include "cli/flag_values.hpp"

namespace meshseek::cli {

/// --mesh, --plan
void add_mesh_flags(CLI::App& verb, SourceFlags& flags);
/// --dtype, --dtype-policy, add_mesh_flags() and --deterministic
void add_conversion_flags(CLI::App& verb, SourceFlags& flags);
/// --deterministic
void add_deterministic_flag(CLI::App& verb, SourceFlags& flags);
/// --overlay, --set
void add_overlay_flags(CLI::App& verb, ConfigFlags& flags);
/// --prefill-config, --decode-config and add_overlay_flags()
void add_config_flags(CLI::App& verb, ConfigFlags& flags);
/// --strict, for verbs that make a run config.
void add_strict_flag(CLI::App& verb, ConfigFlags& flags);
void add_threads_flag(CLI::App& verb, const char* name, std::size_t& num_threads);
/// --bind, --threads
void add_device_flags(CLI::App& verb, DeviceFlags& flags);
/// --capture
void add_capture_flag(CLI::App& verb, std::string& file);

}  // namespace meshseek::cli

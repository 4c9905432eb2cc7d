/// What must be equal on all processes of a mesh before they load.
#pragma once
#include <vector>

#include "mesh/handshake.hpp"
#include "stage3_run/device_runner.hpp"

namespace meshseek {

/// For agree(): the device that the configs were made for, digests of both model configs, of config.json and weight_config.json, and of
/// each tensor file as the store's manifest has it. Of a store that holds some ranks' pieces only, each file's shape, types and sources
/// stand for its content. \throws Error, ConfigError when a file of the store cannot be read
std::vector<Fact> facts_of_run(const RunPlan& plan);

}  // namespace meshseek

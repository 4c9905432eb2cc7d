/// What is in a file or a store, as a document that serves both text and JSON.
#pragma once
#include "base/mapped_file.hpp"
#include "config/tree.hpp"
#include "stage3_run/runner.hpp"

namespace meshseek::cli {

/// A .safetensors, .tensorbin or .json file (model config, weight config, config.json). \throws Error when it is none of these.
Tree inspect_file(const Path& path);
/// weight_config.json of a store and the size of its files.
Tree inspect_store(const Path& store);
/// A run config with each loaded weight as "dtype shape layout"; equal layers folded.
Tree inspect_run_config(const Model::Config& config);

/// Members as "name: value", arrays of objects as one line per element.
std::string to_text(const Tree& document);

}  // namespace meshseek::cli

/// Configs of published models of the DeepSeek family.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "config/tree.hpp"

namespace meshseek {

/// v2-lite, v2, v3, kimi-k2, moonlight.
std::span<const std::string_view> published_model_names();

/// The config.json of a published model with bfloat16 weights: every field that parse_hf_config() reads, and those that others read.
/// \throws Error that lists the known names.
Tree published_config(std::string_view name);

/// Makes a config that of its first `num_layers` layers. Modules that predict further tokens come after the last layer: they are dropped
/// unless all layers are kept. \throws Error unless 1 <= num_layers <= num_hidden_layers.
void keep_first_layers(Tree& config, std::int64_t num_layers);

/// Adds the quantization_config that V3 publishes: FP8 projections with a scale for each block of 128 x 128.
void set_fp8(Tree& config);

}  // namespace meshseek

/// RoPE settings of config.json.
#pragma once
#include "hf/config_reader.hpp"
#include "hf/hf_config.hpp"

namespace meshseek {

/// Reads `rope_parameters`, or `rope_scaling` with the top-level `rope_theta`, and `rope_interleave`.
/// \throws ConfigError: unknown type, yarn without factor or original_max_position_embeddings, out of range.
RopeConfig read_rope_config(const ConfigReader& config);

}  // namespace meshseek

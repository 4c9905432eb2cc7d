/// Element types per operator and layer range.
#pragma once
#include "config/tree.hpp"
#include "hf/hf_config.hpp"

namespace meshseek {

/// Expands the layer ranges of a policy's "model" tree and checks it: every string is a dtype of projections, every path exists in the model.
/// \throws ConfigError naming the path.
Tree expand_dtype_policy(const Tree& model_policy, const HfConfig& hf);

/// The same for a whole policy document: {"format_version": 1, "model": ..}; null stays null. \throws ConfigError
Tree read_dtype_policy(const Tree& document, const HfConfig& hf);

}  // namespace meshseek

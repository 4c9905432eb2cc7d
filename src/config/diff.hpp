/// Differences of two configs, operator by operator, folded into ranges of layers.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "config/tree.hpp"

namespace meshseek {

/// One line per difference, in the order of the trees; empty when they are equal. Both may be folded in different ways.
///
///     mode: prefill -> decode
///     model.layers.0-31.mlp.w1.dtype: bfloat16 -> float32
///     model.layers.3.moe.w1: only in b.json (Linear)
///
/// A field that is absent or null is `unset`; values that are no fields of an operator count as fields. Arrays are compared as a whole.
/// \param left_name, right_name how to call the two configs \throws ConfigError as expand_tree
std::vector<std::string> diff_configs(const Tree& left, const Tree& right, std::string_view left_name, std::string_view right_name);

}  // namespace meshseek

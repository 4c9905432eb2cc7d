/// Tuning: changes to single fields of operators that exist, made on an expanded tree (expand_tree), in the order given.
///
/// An overlay never adds, removes or replaces operators; the names and types of the fields it sets are checked when the tree is
/// read into its structs (from_tree).
#pragma once
#include <string_view>

#include "config/tree.hpp"

namespace meshseek {

/// Applies `path=value`, e.g. `model.layers.10.mlp.w1.program_config.in0_block_w=4`. The value is JSON, or else a string
/// (`dtype=bfloat8_b`); `null` unsets an optional field.
///
/// In the path `*` stands for one name and `**` for any number of names. A path without them may add a field to an operator (an
/// optional one that was unset); a path with them changes the fields that are there, and must find at least one.
/// \throws ConfigError when nothing matches (with the nearest name), when a step goes through something that is no object, or
///         when the change would replace an operator or its "op"; the tree is then unchanged
void apply_set(Tree& expanded, std::string_view assignment);

/// Applies a tree of changes with the structure of `expanded`; layer lists may use range patterns, later patterns win.
/// \throws ConfigError as apply_set, and when a pattern names a layer that is not there; the tree is then unchanged
void apply_overlay(Tree& expanded, const Tree& overlay);

}  // namespace meshseek

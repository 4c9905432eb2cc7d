/// Range patterns of layer lists: "0-31" and "10" as keys of an object, inclusive, from 0.
///
/// A *layer list* is an object whose keys are patterns: {"0-2": {...}, "3-60": {...}}. *Expansion* gives every layer its own entry
/// ("0", "1", ...): the deep merge of all patterns that cover it. Two patterns may add different operators to one layer; that both
/// define the same leaf is an error, so the order of the patterns never matters. *Folding* is the inverse: consecutive equal
/// entries become one pattern.
///
/// A *leaf* is whatever is no plain object: an operator (an object with "op"), a weight (an object with "path"), an array, a scalar.
/// Lists inside leaves are not looked at.
///
/// Rejected: "later patterns win". A typing mistake in a range would then silently change layers; tuning goes through overlay.hpp.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "config/tree.hpp"

namespace meshseek {

/// Layers first..last, both included.
struct RangePattern {
  std::int64_t first = 0;
  std::int64_t last = 0;

  friend bool operator==(const RangePattern&, const RangePattern&) = default;
};

/// Reads "7" or "0-31". \throws ConfigError when malformed (signs, spaces, leading zeros) or reversed.
RangePattern parse_range(std::string_view pattern, std::string_view where);
/// "7" when first == last, else "0-31".
std::string to_string(const RangePattern& range);

/// A non-empty object whose keys are all digits or digits-digits.
bool is_layer_list(const Tree& tree);
/// The highest layer that a pattern of the list names, plus one; 0 for an empty object. \throws ConfigError as parse_range.
std::int64_t count_layers(const Tree& list_object, std::string_view where);

/// What happens to `{layer}` in file names: the strings named "path", and plain strings that stand for a weight.
enum class LayerPlaceholder : std::uint8_t {
  keep,
  substitute,  ///< by the index in the outermost list
};

/// Expands one list to an object with the keys "0" .. num_layers - 1; lists inside the entries are left as they are.
/// \throws ConfigError for a malformed pattern, one beyond num_layers, a layer without a pattern, a leaf defined twice, or an
///         expansion of more than half a million values
Tree expand_ranges(const Tree& list_object, std::int64_t num_layers, std::string_view where,
                   LayerPlaceholder placeholder = LayerPlaceholder::keep);

/// Gets the number of a layer and what its patterns say together.
using LayerVisit = std::function<void(std::int64_t, const Tree&)>;

/// Visits the layers of one list in order, without expanding all of it; a layer that one pattern covers is not copied. Linear in the layers.
/// \throws ConfigError as expand_ranges
void for_each_layer(const Tree& list_object, std::int64_t num_layers, std::string_view where, const LayerVisit& visit);

/// Number of elements of the list at a dotted path; empty: not known, the list's own highest index decides.
using LayerCounts = std::function<std::optional<std::int64_t>(std::string_view path)>;

/// Expands every list of a tree, lists inside lists included. An object is a list when is_layer_list() says so or when
/// `layer_counts` knows its path. `where` is the path of the tree itself, usually empty.
/// \throws ConfigError as expand_ranges
Tree expand_tree(const Tree& tree, const LayerCounts& layer_counts = {}, LayerPlaceholder placeholder = LayerPlaceholder::keep,
                 std::string_view where = {});

/// Checks that the patterns of every outermost list cover its elements and name no others, and that the expansion is not too large; expands nothing.
/// \throws ConfigError as expand_ranges, overlaps excepted
void check_layer_lists(const Tree& tree, const LayerCounts& layer_counts, std::string_view where);

/// Folds every list of a tree: neighbours with equal entries become one pattern. expand_tree(fold_ranges(t)) == t for expanded t.
Tree fold_ranges(const Tree& expanded);

}  // namespace meshseek

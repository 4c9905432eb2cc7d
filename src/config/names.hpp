/// Dotted paths and "did you mean" hints of the error messages.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/tree.hpp"

namespace meshseek {

/// "a.b" + "c" = "a.b.c"; "" + "c" = "c".
std::string join_path(std::string_view path, std::string_view name);

/// A path for a message: the whole config has none.
inline std::string shown_path(std::string_view path) { return path.empty() ? "config" : std::string(path); }

/// A name of a file or user for a message: in quotes, at most 60 bytes, one line of ASCII.
std::string in_quotes(std::string_view text);

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`; the optimal-string-alignment distance.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// `; did you mean "dtype"? known: bias, dtype`: ends the message about an unknown name. The hint is left out when no known name
/// shares anything with the given one. At most 40 names are listed.
std::string known_names_hint(std::string_view given, std::span<const std::string_view> known);

/// Keys of an object in their order; empty for any other tree. The views live as long as the tree.
std::vector<std::string_view> keys_of(const Tree& tree);

/// One operator's config (an object with "op"), which range patterns and overlays treat as a unit.
inline bool is_operator(const Tree& tree) { return tree.find("op") != nullptr; }

}  // namespace meshseek

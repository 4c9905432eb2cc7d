/// Mutates JSON as a tree: bytes changed at random seldom parse, and what does not parse never reaches the readers behind parse_json().
#pragma once
#include <cstddef>
#include <random>
#include <string>
#include <string_view>

namespace meshseek {

using Random = std::minstd_rand;

/// A number below `limit`; 0 when that is 0.
std::size_t below(Random& random, std::size_t limit);

/// `text` with one to three changes, on one line; empty when it is no JSON or the changes make none.
std::string mutated_json(std::string_view text, Random& random);

}  // namespace meshseek

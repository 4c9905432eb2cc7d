/// Numbers in variables of the environment.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace meshseek {

/// The whole number in a variable; unset when the variable is. \param what it counts, for the message: "microseconds"
/// \throws Error for anything but a number from 0 to `most`
std::optional<std::int64_t> number_of_environment(const char* name, std::int64_t most, std::string_view what);

}  // namespace meshseek

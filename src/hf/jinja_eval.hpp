/// Runs a parsed chat template.
#pragma once
#include <string>

#include "hf/jinja_parser.hpp"

namespace meshseek {

/// Text of `blocks` with the members of `context` (an object) as variables.
/// \throws Error with the line where the reference raises, and when the text passes 64 MiB or the work passes a fixed number of steps.
std::string render_jinja(const JinjaBlock& blocks, const JinjaValue& context);

}  // namespace meshseek

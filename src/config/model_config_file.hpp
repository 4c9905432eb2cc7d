/// The frame of a model config file: {"format_version", "mode", "mesh", "deterministic", "device", "model"}.
#pragma once
#include <cstdint>
#include <string>

#include "config/tree.hpp"

namespace meshseek {

inline constexpr std::int64_t kModelConfigVersion = 1;

/// The "model" part of a model config, after the frame's keys and version have been checked. What mode and mesh say is the caller's affair.
/// \param where the file or its role, for messages \throws ConfigError: no model config, an unknown key, another version
const Tree& model_part_of(const Tree& document, const std::string& where);

}  // namespace meshseek

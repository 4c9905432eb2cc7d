/// Stores of published shapes with generated weights, for measurements.
#pragma once
#include <cstdint>
#include <string>

#include "base/mapped_file.hpp"
#include "cli/flag_values.hpp"

namespace meshseek::cli {

/// A store of the first `num_layers` layers (0: all) of a published model, generated and converted into the cache unless it is there already. The checkpoint
/// between is removed. \param flags dtype and policy of the conversion; the model is ignored
/// \throws UsageError: unknown name, more layers than there are; Error as generate_checkpoint() and convert_checkpoint()
Path synthetic_store(const std::string& name, std::int64_t num_layers, std::uint64_t seed, const SourceFlags& flags);

}  // namespace meshseek::cli

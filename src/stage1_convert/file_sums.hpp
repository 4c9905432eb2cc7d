/// Checksums of a file on disk.
#pragma once
#include <functional>

#include "base/mapped_file.hpp"
#include "modules/weight_output/weight_writer.hpp"

namespace meshseek {

/// Size, SHA-256 and block sums of a file, read once in pieces of 1 MiB. \param on_bytes called after each piece; may be empty
WrittenFile sums_of_file(const Path& path, const std::function<void(std::int64_t)>& on_bytes = {});

}  // namespace meshseek

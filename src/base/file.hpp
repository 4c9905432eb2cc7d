/// Small file helpers: whole-file reads with a limit and atomic, durable writes.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "base/mapped_file.hpp"

namespace meshseek {

/// Reads a whole file. \throws Error when missing, unreadable or larger than `max_bytes`.
std::string read_text_file(const Path& path, std::size_t max_bytes = std::size_t{1} << 30);

/// Writes `path` so that a crash leaves either the old or the new content: temporary name, fsync, rename, fsync of the folder.
/// \throws Error naming the path and the reason (disk full, read-only folder, ...); the temporary file is removed.
void write_file_atomically(const Path& path, std::span<const std::byte> content);
void write_file_atomically(const Path& path, std::string_view content);
/// The pieces one after the other.
void write_file_atomically(const Path& path, std::span<const std::span<const std::byte>> pieces);

}  // namespace meshseek

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

/// A new file that grows; what was written is handed to the system at once.
class AppendedFile {
 public:
  /// \throws Error naming the path: it exists already, no such folder, not writable.
  explicit AppendedFile(Path path);
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;
  ~AppendedFile();

  /// \throws Error naming the path and the reason, e.g. a full disk.
  void write(std::span<const std::byte> content);
  void write(std::string_view content) { write(std::as_bytes(std::span(content))); }
  const Path& path() const { return path_; }

 private:
  Path path_;
  int fd_ = -1;
};

}  // namespace meshseek

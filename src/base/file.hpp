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

/// Name, size and modification time in nanoseconds: enough to notice a changed file without reading gigabytes. \throws Error when it cannot be asked.
std::string file_identity(const Path& path);

/// Writes `path` so that a crash leaves either the old or the new content: temporary name, fsync, rename, fsync of the folder.
/// \throws Error naming the path and the reason (disk full, read-only folder, ...); the temporary file is removed.
void write_file_atomically(const Path& path, std::span<const std::byte> content);
void write_file_atomically(const Path& path, std::string_view content);
/// The pieces one after the other.
void write_file_atomically(const Path& path, std::span<const std::span<const std::byte>> pieces);

/// A file that appears under its name complete or not at all: it is written under a temporary name beside its target, in any order.
/// Without publish() the destructor removes it.
class AtomicFile {
 public:
  /// \throws Error naming the path: no such folder, not writable.
  explicit AtomicFile(Path target);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Puts `content` at byte `offset`; several threads may write at once. \throws Error naming the path and the reason, e.g. a full disk.
  void write_at(std::size_t offset, std::span<const std::byte> content);
  /// Lets the system write what it has of the file to the disk now, and returns; a flush later becomes shorter.
  void start_flush();
  /// Gives the file its name; at most once. With `durable` it survives a power failure from then on (fsync of file and folder); without, only the death of
  /// this process. \throws Error naming the path and the reason.
  void publish(bool durable = true);

 private:
  Path target_;
  std::string name_;
  int fd_ = -1;
  bool is_published_ = false;
};

/// fsync of a file or folder. \throws Error naming the path.
void flush_to_disk(const Path& path);

/// Drops what the page cache holds of a flushed file: the small pages it was written in. Who maps it next gets huge pages (see MappedFile). Only a hint.
void forget_cached(const Path& path);

/// A new file that grows; what was written is handed to the system at once.
class AppendedFile {
 public:
  /// \throws Error naming the path: it exists already (unless `may_exist`), no such folder, not writable.
  explicit AppendedFile(Path path, bool may_exist = false);
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

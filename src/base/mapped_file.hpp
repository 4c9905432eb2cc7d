/// Read-only memory mapping of a whole file.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>

namespace meshseek {

using Path = std::filesystem::path;

/// Maps a regular file read-only; pages are read on first use, so opening costs no memory. Move-only. Files of 2 MiB or more are mapped in huge pages where
/// the file system caches them so (ext4 and XFS of newer kernels: what is read for the first time through such a mapping; not what was written lately).
class MappedFile {
 public:
  /// \throws Error naming the path when the file is missing, not a regular file or not readable. An empty file maps to an empty span.
  explicit MappedFile(const Path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const Path& path() const { return path_; }

 private:
  Path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Reads mapped memory in from the disk now instead of on first use. Costs nothing where it is in already; failures only make first use slower.
void prefault(std::span<const std::byte> mapped);

}  // namespace meshseek

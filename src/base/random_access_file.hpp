/// Reading parts of a file into memory of one's own.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/mapped_file.hpp"

namespace meshseek {

/// Unlike a mapping, a part that cannot be read is an exception and not a signal, and nothing stays in this process's memory. Move-only; reading is thread-safe.
class RandomAccessFile {
 public:
  /// \throws Error naming the path when it cannot be opened.
  explicit RandomAccessFile(const Path& path);
  RandomAccessFile(RandomAccessFile&& other) noexcept;
  RandomAccessFile(const RandomAccessFile&) = delete;
  RandomAccessFile& operator=(const RandomAccessFile&) = delete;
  ~RandomAccessFile();

  /// Fills `out` from `offset` on. \throws Error naming the path: the file ends earlier (it was shortened while it was read), an I/O error.
  void read(std::uint64_t offset, std::span<std::byte> out) const;
  /// Bytes the file has now.
  std::uint64_t size() const;
  const Path& path() const { return path_; }

 private:
  Path path_;
  int fd_ = -1;
};

}  // namespace meshseek

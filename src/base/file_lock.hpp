/// An exclusive lock between processes.
#pragma once
#include "base/mapped_file.hpp"

namespace meshseek {

/// Holds flock(2) on a file while it lives; the kernel releases it when the process dies. Waits for other holders.
class FileLock {
 public:
  /// Creates `path` when missing. \throws Error naming the path when it cannot be opened.
  explicit FileLock(const Path& path);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  int fd_ = -1;
};

}  // namespace meshseek

#include "base/random_access_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace meshseek {

RandomAccessFile::RandomAccessFile(const Path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) throw Error(fmt::format("[{}] cannot open the file: {}", path.string(), std::strerror(errno)));
}

RandomAccessFile::RandomAccessFile(RandomAccessFile&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

RandomAccessFile::~RandomAccessFile() {
  if (fd_ >= 0) ::close(fd_);
}

void RandomAccessFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t count = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error(fmt::format("[{}] cannot read the file: {}", path_.string(), std::strerror(errno)));
    if (count == 0) {
      throw Error(fmt::format("[{}] ends before byte {}; it was shortened while it was read; check the file and run again", path_.string(),
                              offset + out.size()));
    }
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
}

std::uint64_t RandomAccessFile::size() const {
  struct stat info = {};
  if (::fstat(fd_, &info) != 0) throw Error(fmt::format("[{}] cannot ask for the file's size: {}", path_.string(), std::strerror(errno)));
  return static_cast<std::uint64_t>(info.st_size);
}

}  // namespace meshseek

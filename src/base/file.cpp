#include "base/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"

namespace meshseek {
namespace {

[[noreturn]] void fail(const Path& path, const char* what) {
  throw Error(fmt::format("[{}] {} the file: {}", path.string(), what, std::strerror(errno)));
}

void write_all(int fd, std::span<const std::byte> content, const Path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(path, "cannot write");
    content = content.subspan(static_cast<std::size_t>(written));
  }
}

}  // namespace

AtomicFile::AtomicFile(Path target) : target_(std::move(target)), name_(fmt::format("{}.{}.tmp", target_.string(), ::getpid())) {
  fd_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(target_, "cannot create");
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!is_published_) ::unlink(name_.c_str());
}

void AtomicFile::write_at(std::size_t offset, std::span<const std::byte> content) {
  while (!content.empty()) {
    const ssize_t written = ::pwrite(fd_, content.data(), content.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(target_, "cannot write");
    offset += static_cast<std::size_t>(written);
    content = content.subspan(static_cast<std::size_t>(written));
  }
}

void AtomicFile::start_flush() {
  // Only a hint: what goes wrong here is reported by the flush that follows.
  static_cast<void>(::sync_file_range(fd_, 0, 0, SYNC_FILE_RANGE_WRITE));
}

void AtomicFile::publish(bool durable) {
  if (durable && ::fsync(fd_) != 0) fail(target_, "cannot flush");
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) fail(target_, "cannot close");
  if (::rename(name_.c_str(), target_.c_str()) != 0) fail(target_, "cannot rename into place");
  is_published_ = true;
  if (durable) flush_to_disk(target_.parent_path().empty() ? Path(".") : target_.parent_path());
}

void flush_to_disk(const Path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (flushed) return;
  errno = error;
  fail(path, "cannot flush");
}

void forget_cached(const Path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  static_cast<void>(::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
  ::close(fd);
}

std::string read_text_file(const Path& path, std::size_t max_bytes) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() > max_bytes) {
    throw Error(fmt::format("[{}] has {} bytes; at most {} are expected of such a file", path.string(), bytes.size(), max_bytes));
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string file_identity(const Path& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) fail(path, "cannot look at");
  const std::int64_t nanoseconds = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  return fmt::format("{} {} {}", path.filename().string(), info.st_size, nanoseconds);
}

void write_file_atomically(const Path& path, std::span<const std::span<const std::byte>> pieces) {
  AtomicFile file(path);
  std::size_t offset = 0;
  for (const std::span<const std::byte> piece : pieces) {
    file.write_at(offset, piece);
    offset += piece.size();
  }
  file.publish();
}

void write_file_atomically(const Path& path, std::span<const std::byte> content) { write_file_atomically(path, std::span(&content, 1)); }

void write_file_atomically(const Path& path, std::string_view content) { write_file_atomically(path, std::as_bytes(std::span(content))); }

AppendedFile::AppendedFile(Path path, bool may_exist) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | (may_exist ? 0 : O_EXCL) | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(path_, "cannot create");
}

AppendedFile::~AppendedFile() { ::close(fd_); }

void AppendedFile::write(std::span<const std::byte> content) { write_all(fd_, content, path_); }

}  // namespace meshseek

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

TemporaryFile::TemporaryFile(const Path& target) : target_(target), name_(fmt::format("{}.{}.tmp", target.string(), ::getpid())) {
  fd_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(target_, "cannot create");
}

TemporaryFile::~TemporaryFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!published_) ::unlink(name_.c_str());
}

void TemporaryFile::write(std::span<const std::byte> content) { write_all(fd_, content, target_); }

void TemporaryFile::publish(bool durable) {
  if (durable && ::fsync(fd_) != 0) fail(target_, "cannot flush");
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) fail(target_, "cannot close");
  if (::rename(name_.c_str(), target_.c_str()) != 0) fail(target_, "cannot rename into place");
  published_ = true;
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
  TemporaryFile file(path);
  for (const std::span<const std::byte> piece : pieces) file.write(piece);
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

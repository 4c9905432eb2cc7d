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

/// An output file under a temporary name; removed again unless published.
class TemporaryFile {
 public:
  explicit TemporaryFile(const Path& target) : target_(target), name_(fmt::format("{}.{}.tmp", target.string(), ::getpid())) {
    fd_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd_ < 0) fail(target_, "cannot create");
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!published_) ::unlink(name_.c_str());
  }

  void write(std::span<const std::byte> content) { write_all(fd_, content, target_); }

  void publish() {
    if (::fsync(fd_) != 0) fail(target_, "cannot flush");
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0) fail(target_, "cannot close");
    if (::rename(name_.c_str(), target_.c_str()) != 0) fail(target_, "cannot rename into place");
    published_ = true;
    const Path folder = target_.parent_path().empty() ? Path(".") : target_.parent_path();
    const int folder_fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd >= 0) {
      ::fsync(folder_fd);
      ::close(folder_fd);
    }
  }

 private:
  Path target_;
  std::string name_;
  int fd_ = -1;
  bool published_ = false;
};

}  // namespace

std::string read_text_file(const Path& path, std::size_t max_bytes) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  if (bytes.size() > max_bytes) {
    throw Error(fmt::format("[{}] has {} bytes; at most {} are expected of such a file", path.string(), bytes.size(), max_bytes));
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void write_file_atomically(const Path& path, std::span<const std::span<const std::byte>> pieces) {
  TemporaryFile file(path);
  for (const std::span<const std::byte> piece : pieces) file.write(piece);
  file.publish();
}

void write_file_atomically(const Path& path, std::span<const std::byte> content) { write_file_atomically(path, std::span(&content, 1)); }

void write_file_atomically(const Path& path, std::string_view content) { write_file_atomically(path, std::as_bytes(std::span(content))); }

AppendedFile::AppendedFile(Path path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) fail(path_, "cannot create");
}

AppendedFile::~AppendedFile() { ::close(fd_); }

void AppendedFile::write(std::span<const std::byte> content) { write_all(fd_, content, path_); }

}  // namespace meshseek

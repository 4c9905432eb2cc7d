#include "base/mapped_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/zeroed_memory.hpp"

namespace meshseek {
namespace {

constexpr std::size_t kPage = 4096;

struct FileDescriptor {
  int fd = -1;
  ~FileDescriptor() {
    if (fd >= 0) ::close(fd);
  }
};

/// At a multiple of the huge page size, so that huge pages of the page cache can be mapped as such. A small file takes no more than it needs.
void* map(int fd, std::size_t size) {
  if (size < kHugePage) return ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  void* room = ::mmap(nullptr, size + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return room;
  auto* begin = static_cast<std::byte*>(room);
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(begin) % kHugePage) % kHugePage;
  void* address = ::mmap(begin + before, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
  if (address == MAP_FAILED) {
    const int error = errno;
    ::munmap(room, size + kHugePage);
    errno = error;
    return address;
  }
  const std::size_t end = (before + size + kPage - 1) / kPage * kPage;
  if (before > 0) ::munmap(begin, before);
  if (end < size + kHugePage) ::munmap(begin + end, size + kHugePage - end);
  ::madvise(address, size, MADV_HUGEPAGE);  // advice: where the file system has no large folios, the pages are small
  return address;
}

}  // namespace

MappedFile::MappedFile(const Path& path) : path_(path) {
  // O_NONBLOCK: a pipe in a checkpoint folder must not block the program; it is refused below.
  const FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) throw Error(fmt::format("[{}] cannot open the file: {}", path.string(), std::strerror(errno)));
  struct stat info = {};
  if (::fstat(file.fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    throw Error(fmt::format("[{}] is not a regular file; expected a readable file", path.string()));
  }
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;
  void* address = map(file.fd, size_);
  if (address == MAP_FAILED) throw Error(fmt::format("[{}] cannot map the file: {}", path.string(), std::strerror(errno)));
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void prefault(std::span<const std::byte> mapped) {
  if (mapped.empty()) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(mapped.data()) + mapped.size();
  static_cast<void>(::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_POPULATE_READ));
}

}  // namespace meshseek

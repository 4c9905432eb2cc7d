#include "base/zeroed_memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace meshseek {
namespace {

void* map(std::size_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) throw std::bad_alloc();
  return data;
}

/// The kernel aligns to 4 KiB: more is mapped, and what lies before and behind given back.
std::byte* map_aligned(std::size_t bytes) {
  auto* data = static_cast<std::byte*>(map(bytes + kHugePage));
  const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(data) % kHugePage) % kHugePage;
  if (before > 0) ::munmap(data, before);
  ::munmap(data + before + bytes, kHugePage - before);
  return data + before;
}

}  // namespace

std::shared_ptr<void> map_zeroed(std::size_t bytes) {
  constexpr std::size_t kMost = std::size_t{1} << 62;
  if (bytes > kMost) throw std::bad_alloc();
  const std::size_t page = bytes < kHugePage ? 4096 : kHugePage;
  const std::size_t size = (bytes / page + 1) * page - (bytes % page == 0 && bytes > 0 ? page : 0);
  void* data = page == kHugePage ? map_aligned(size) : map(size);
  if (page == kHugePage) ::madvise(data, size, MADV_HUGEPAGE);  // advice: where it is not taken, the pages are small
  return {data, [size](void* memory) { ::munmap(memory, size); }};
}

}  // namespace meshseek

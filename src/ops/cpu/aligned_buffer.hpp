/// Memory for the kernels.
#pragma once
#include <cstddef>
#include <memory>
#include <memory_resource>

namespace meshseek::cpu {

/// Memory of `T` that begins at a cache line, so that no vector straddles two. Not initialised. It grows, and never shrinks.
template <class T>
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t count, std::pmr::memory_resource& memory = *std::pmr::new_delete_resource())
      : data_(count == 0 ? nullptr : static_cast<T*>(memory.allocate(count * sizeof(T), kAlignment)), {&memory, count}) {}

  /// Room for `count` values at least; what was there may be lost.
  void reserve(std::size_t count, std::pmr::memory_resource& memory) {
    if (count > data_.get_deleter().count) *this = AlignedBuffer(count, memory);
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }

 private:
  struct Free {
    std::pmr::memory_resource* memory = nullptr;
    std::size_t count = 0;
    void operator()(T* data) const { memory->deallocate(data, count * sizeof(T), kAlignment); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace meshseek::cpu

/// Memory for the kernels.
#pragma once
#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace meshseek::cpu {

/// Memory of `T` that begins at a cache line, so that no vector straddles two. Not initialised.
template <class T>
class AlignedBuffer {
 public:
  static constexpr std::size_t kAlignment = 64;

  explicit AlignedBuffer(std::size_t count = 0)
      : data_(count == 0 ? nullptr : static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{kAlignment}))) {}
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(T* data) const { ::operator delete (data, std::align_val_t{kAlignment}); }
  };
  std::unique_ptr<T, Free> data_;
};

/// For AlignedVector.
template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class Other>
  AlignedAllocator(const AlignedAllocator<Other>&) {}
  T* allocate(std::size_t count) {
    return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{AlignedBuffer<T>::kAlignment}));
  }
  void deallocate(T* data, std::size_t) { ::operator delete (data, std::align_val_t{AlignedBuffer<T>::kAlignment}); }
  friend bool operator==(const AlignedAllocator&, const AlignedAllocator&) { return true; }
};

/// A vector that begins at a cache line.
template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace meshseek::cpu

#include "base/waiting.hpp"

#include <thread>

#include "base/cpu_binding.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace meshseek {
namespace {

constexpr int kYields = 100;

}  // namespace

void pause_core() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

int spins_for(std::size_t num_threads) { return num_threads <= usable_cpus().size() ? kWaitSpins : 0; }

std::uint32_t wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t seen, int num_spins) {
  for (int spin = 0; spin < num_spins + kYields; ++spin) {
    const std::uint32_t now = value.load(std::memory_order_acquire);
    if (now != seen) return now;
    if (spin < num_spins) {
      pause_core();
    } else {
      std::this_thread::yield();
    }
  }
  value.wait(seen, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace meshseek

/// How threads wait for each other: a moment of spinning, then yielding, then sleep.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace meshseek {

/// Tells the core that this is a waiting loop.
void pause_core();

/// About 100 microseconds of pause_core(): longer than what lies between two operators, shorter than a time slice.
inline constexpr int kWaitSpins = 4000;

/// kWaitSpins, or 0 when `num_threads` are more than the cores: spinning would keep those from running that are waited for.
int spins_for(std::size_t num_threads);

/// Spins, then yields, then sleeps until `value` is another one than `seen` and somebody called notify. \return the other one
std::uint32_t wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t seen, int num_spins);

}  // namespace meshseek

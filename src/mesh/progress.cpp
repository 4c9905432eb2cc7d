#include "mesh/progress.hpp"

#include <fmt/format.h>

namespace meshseek {

std::size_t MoveCount::stripe_of_this_thread() {
  static std::atomic<std::size_t> num_threads = 0;
  thread_local const std::size_t stripe = num_threads.fetch_add(1, std::memory_order_relaxed) % kStripes;
  return stripe;
}

std::uint64_t MoveCount::total() const {
  std::uint64_t total = 0;
  for (const Stripe& stripe : stripes_) total += stripe.value.load(std::memory_order_relaxed);
  return total;
}

std::string to_string(const Progress& progress) {
  if (progress.layer_idx() < 0) return progress.op();
  return fmt::format("{}, layer {}", progress.op(), progress.layer_idx());
}

}  // namespace meshseek

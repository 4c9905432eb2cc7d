/// The measure of tests that compare times.
#pragma once
#include <algorithm>
#include <chrono>
#include <limits>

namespace meshseek::testing {

/// Seconds of the fastest of `repetitions` calls: other programs of the machine make a call slower, never faster.
double best_time(int repetitions, const auto& call) {
  double best = std::numeric_limits<double>::infinity();
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    const auto start = std::chrono::steady_clock::now();
    call();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace meshseek::testing

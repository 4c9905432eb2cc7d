#include "mesh/last_words.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <thread>

#include "base/error.hpp"

namespace meshseek {

void wait_for_turn(std::int64_t place) {
  constexpr std::int64_t kMostTurns = 5;
  std::this_thread::sleep_for(kTurn * std::min(place, kMostTurns));
}

void print_last_words(std::string_view message) {
  const std::string line = fmt::format("meshseek: {}\n", one_line(std::string(message)));
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace meshseek

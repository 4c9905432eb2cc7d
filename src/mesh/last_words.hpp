/// The one line with which a job ends, said by one of its processes.
#pragma once
#include <chrono>
#include <cstdint>
#include <string_view>

namespace meshseek {

/// The exit code after that.
inline constexpr int kExitFailure = 1;

/// Much longer than a launcher takes to end the other processes after one has ended with an error.
inline constexpr std::chrono::milliseconds kTurn(3'000);

/// Processes that have met with the same failure speak in turn: whoever has the first place at once, and while the others wait for theirs the launcher ends
/// them. \param place 0: the first; from the fifth on all speak at the same time
void wait_for_turn(std::int64_t place);

/// Prints "meshseek: " and the message as one line to stderr, in one piece and without locks: whatever else the process does.
void print_last_words(std::string_view message);

}  // namespace meshseek

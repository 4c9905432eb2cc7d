/// What the watchdogs of a mesh tell each other.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "mesh/progress.hpp"

namespace meshseek {

/// A sign of life. Sent as it lies in memory: the handshake makes sure that all processes run the same program.
struct Beat {
  enum class Kind : std::uint32_t { alive, leaving, failed, end };

  std::array<std::uint64_t, 2> token = {};
  Kind kind = Kind::alive;
  std::int32_t rank = 0;
  std::int64_t layer_idx = -1;
  std::int64_t awaited = -1;    ///< rank that it waits for; -1: none
  std::uint64_t num_moves = 0;  ///< Progress::num_moves()
  Progress::Activity activity = Progress::Activity::preparation;
  std::array<char, 32> op = {};
  std::array<char, 64> host = {};
  std::array<char, 1024> message = {};  ///< of `failed`
};

/// As much of the text as fits, ended by a zero.
template <std::size_t N>
void set_text(std::array<char, N>& target, std::string_view text) {
  target.fill('\0');
  std::copy_n(text.begin(), std::min(text.size(), N - 1), target.begin());
}
template <std::size_t N>
std::string text_of(const std::array<char, N>& text) {
  return {text.begin(), std::find(text.begin(), text.end(), '\0')};
}

inline std::string host_of(const Beat& beat) { return text_of(beat.host); }
inline std::string message_of(const Beat& beat) { return text_of(beat.message); }
inline void set_message(Beat& beat, std::string_view message) { set_text(beat.message, message); }

/// What a device does right now.
Beat make_beat(Beat::Kind kind, std::int64_t rank, const std::array<std::uint64_t, 2>& token, const Progress& progress);

/// "all_reduce, layer 3"; without a layer "all_reduce".
std::string place_of(const Beat& beat);

/// The one line about a rank that was lost: rank, host, operator, layer, how, and who waits for it. \param waiting a rank that does; null: nobody
std::string loss_of(const Beat& lost, std::string_view how, const Beat* waiting);

}  // namespace meshseek

/// Finds the process that stands still in one operator while another one waits for it: it loops, or waits for something that never comes.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

#include "mesh/beat.hpp"

namespace meshseek {

/// Fed with the beats of all processes by whoever judges. Phases between passes may take any time, and so may waiting for others.
class StandstillJudge {
 public:
  using Clock = std::chrono::steady_clock;

  /// \param limit an operator may take so long; 0: any time
  explicit StandstillJudge(std::chrono::seconds limit) : limit_(limit) {}

  void note(const Beat& beat, Clock::time_point now);
  /// The judge itself had a break (stopped, or suspended with the machine): all start anew.
  void forgive(Clock::time_point now);
  /// The beat of a process that has been in the same operator for longer than the limit, waits for nobody, and is waited for.
  std::optional<Beat> find(Clock::time_point now) const;

  std::chrono::seconds limit() const { return limit_; }

 private:
  struct Seen {
    Beat beat = {};
    Clock::time_point since = {};  ///< its first beat of this step
  };
  bool is_waited_for(std::int64_t rank) const;

  std::chrono::seconds limit_;
  std::map<std::int64_t, Seen> seen_;  ///< by rank
};

}  // namespace meshseek

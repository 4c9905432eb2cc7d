/// Finds ranks of a mesh that will never go on: one that stays in an operator while another one waits for it, ranks that wait for each other, and one that
/// waits for a rank that has done its part.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "mesh/beat.hpp"

namespace meshseek {

/// How long nothing may move on a rank and on one that waits for it: MESHSEEK_HANG_LIMIT_S, or 20 s. \throws Error for what is no number of seconds
std::chrono::seconds hang_limit();

/// Fed with the beats of all ranks by whoever judges. Who moves is never found: who enters operators, takes pieces of their work, or waits for one rank after
/// the other. Preparations may take any time, and so may a pause in which others wait for the next command.
class StandstillJudge {
 public:
  using Clock = std::chrono::steady_clock;

  /// \param limit so long a rank may stand still; 0: any time
  explicit StandstillJudge(std::chrono::seconds limit) : limit_(limit) {}

  void note(const Beat& beat, Clock::time_point now);
  /// The judge itself had a break (stopped, or suspended with the machine): all start anew.
  void forgive(Clock::time_point now);
  /// The line about a rank that has stood still for longer than the limit and will not go on by itself: see loss_of().
  std::optional<std::string> find(Clock::time_point now) const;

 private:
  struct Seen {
    Beat beat = {};
    Clock::time_point since = {};  ///< its last move
  };
  /// The rank's last beat when it has stood still for longer than the limit, else null.
  const Beat* standing(std::int64_t rank, Clock::time_point now) const;
  /// One that has waited for the rank for longer than the limit.
  const Beat* waiting_for(std::int64_t rank, Clock::time_point now) const;
  std::string how_it_hangs(const Beat& beat, Clock::time_point now) const;
  std::string circle_of(const Beat& beat, Clock::time_point now) const;
  std::string allowance() const;

  std::chrono::seconds limit_;
  std::map<std::int64_t, Seen> seen_;  ///< by rank
};

}  // namespace meshseek

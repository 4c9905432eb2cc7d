#include "mesh/standstill.hpp"

#include <algorithm>

namespace meshseek {

void StandstillJudge::note(const Beat& beat, Clock::time_point now) {
  const auto [place, is_new] = seen_.try_emplace(beat.rank, Seen{.beat = beat, .since = now});
  if (is_new) return;
  Seen& seen = place->second;
  if (beat.num_steps != seen.beat.num_steps || beat.awaited >= 0) seen.since = now;
  seen.beat = beat;
}

void StandstillJudge::forgive(Clock::time_point now) {
  for (auto& [rank, seen] : seen_) seen.since = now;
}

bool StandstillJudge::is_waited_for(std::int64_t rank) const {
  return std::ranges::any_of(seen_, [&](const auto& entry) { return entry.second.beat.awaited == rank; });
}

std::optional<Beat> StandstillJudge::find(Clock::time_point now) const {
  if (limit_.count() == 0) return std::nullopt;
  for (const auto& [rank, seen] : seen_) {
    const bool stands = seen.beat.is_operator != 0 && seen.beat.awaited < 0 && now - seen.since > limit_;
    if (stands && is_waited_for(rank)) return seen.beat;
  }
  return std::nullopt;
}

}  // namespace meshseek

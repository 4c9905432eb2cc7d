#include "mesh/standstill.hpp"

#include <fmt/format.h>

#include "base/environment.hpp"

namespace meshseek {
namespace {

/// A job whose rank loops ends within 30 s. What takes long moves every few milliseconds, so this allows for machines that are a thousand times slower; what
/// moves once takes less, and others wait only for the difference between ranks. One message of 2 GiB, the largest, takes 17 s at 1 Gbit/s.
constexpr std::int64_t kHangLimit = 20;

}  // namespace

std::chrono::seconds hang_limit() {
  constexpr std::int64_t kMost = 86'400;
  return std::chrono::seconds(number_of_environment("MESHSEEK_HANG_LIMIT_S", kMost, "seconds").value_or(kHangLimit));
}

void StandstillJudge::note(const Beat& beat, Clock::time_point now) {
  const auto [place, is_new] = seen_.try_emplace(beat.rank, Seen{.beat = beat, .since = now});
  if (is_new) return;
  Seen& seen = place->second;
  if (beat.num_moves != seen.beat.num_moves) seen.since = now;
  seen.beat = beat;
}

void StandstillJudge::forgive(Clock::time_point now) {
  for (auto& [rank, seen] : seen_) seen.since = now;
}

const Beat* StandstillJudge::standing(std::int64_t rank, Clock::time_point now) const {
  const auto found = seen_.find(rank);
  if (found == seen_.end() || now - found->second.since <= limit_) return nullptr;
  return &found->second.beat;
}

const Beat* StandstillJudge::waiting_for(std::int64_t rank, Clock::time_point now) const {
  for (const auto& [other, seen] : seen_) {
    if (seen.beat.awaited == rank && standing(other, now) != nullptr) return &seen.beat;
  }
  return nullptr;
}

std::string StandstillJudge::allowance() const {
  return fmt::format("nothing has moved for {} s; MESHSEEK_HANG_LIMIT_S allows more", limit_.count());
}

/// "rank 1, which waits for rank 2 in all_gather, layer 3, which waits for rank 0" when the waits lead back to the rank; else empty.
std::string StandstillJudge::circle_of(const Beat& beat, Clock::time_point now) const {
  std::string circle = fmt::format("rank {}", beat.awaited);
  const Beat* next = standing(beat.awaited, now);
  for (std::size_t step = 0; step < seen_.size() && next != nullptr && next->awaited >= 0; ++step) {
    circle += fmt::format(", which waits for rank {} in {}", next->awaited, place_of(*next));
    if (next->awaited == beat.rank) return circle;
    next = standing(next->awaited, now);
  }
  return "";
}

/// Empty: it does not.
std::string StandstillJudge::how_it_hangs(const Beat& beat, Clock::time_point now) const {
  using Activity = Progress::Activity;
  if (beat.awaited < 0) {
    if (beat.activity != Activity::pass || waiting_for(beat.rank, now) == nullptr) return "";
    return fmt::format("it hangs ({})", allowance());
  }
  if (const std::string circle = circle_of(beat, now); !circle.empty()) return fmt::format("it waits for {} ({})", circle, allowance());
  const Beat* awaited = standing(beat.awaited, now);
  if (beat.activity != Activity::pass || awaited == nullptr || awaited->awaited >= 0 || awaited->activity != Activity::pause) return "";
  return fmt::format("it waits for rank {}, which has done its part and is in {} ({})", beat.awaited, place_of(*awaited), allowance());
}

std::optional<std::string> StandstillJudge::find(Clock::time_point now) const {
  if (limit_.count() == 0) return std::nullopt;
  for (const auto& [rank, seen] : seen_) {
    const Beat* beat = standing(rank, now);
    if (beat == nullptr) continue;
    const std::string how = how_it_hangs(*beat, now);
    if (how.empty()) continue;
    // Who waits in a circle is named in it.
    return loss_of(*beat, how, beat->awaited < 0 ? waiting_for(rank, now) : nullptr);
  }
  return std::nullopt;
}

}  // namespace meshseek

#include "mesh/beat.hpp"

#include <fmt/format.h>

#include "base/host_name.hpp"

namespace meshseek {

Beat make_beat(Beat::Kind kind, std::int64_t rank, const std::array<std::uint64_t, 2>& token, const Progress& progress) {
  Beat beat = {.token = token,
               .kind = kind,
               .rank = static_cast<std::int32_t>(rank),
               .layer_idx = progress.layer_idx(),
               .awaited = progress.awaited(),
               .num_moves = progress.num_moves(),
               .activity = progress.activity()};
  set_text(beat.op, progress.op());
  set_text(beat.host, host_name());
  return beat;
}

std::string place_of(const Beat& beat) {
  if (beat.layer_idx < 0) return text_of(beat.op);
  return fmt::format("{}, layer {}", text_of(beat.op), beat.layer_idx);
}

std::string loss_of(const Beat& lost, std::string_view how, const Beat* waiting) {
  std::string message = fmt::format("[mesh] rank {} on host {} is lost in {}: {}", lost.rank, host_of(lost), place_of(lost), how);
  if (waiting != nullptr) message += fmt::format("; rank {} waits for it in {}", waiting->rank, place_of(*waiting));
  return message;
}

}  // namespace meshseek

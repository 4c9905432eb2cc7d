/// Watches the processes of a mesh: whoever dies, hangs or reports an error ends all of them, with one message that names it.
///
/// Each process has a thread that sends a beat ten times a second over TCP: to rank 0, and from rank 0 to all. A closed connection or ten
/// seconds of silence is a failure, and so are ranks that will never go on (mesh/standstill.hpp). The thread needs nothing of the rest of
/// the process, so that it also ends one that hangs.
#pragma once
#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "mesh/progress.hpp"

namespace meshseek {

/// Where rank 0 listens; plain bytes, sent to the others by other means.
struct MeetingPoint {
  static constexpr std::size_t kMostAddresses = 16;
  std::array<std::uint64_t, 2> token = {};  ///< who does not know it is no process of ours
  std::uint16_t port = 0;
  std::uint16_t num_addresses = 0;
  std::array<in_addr, kMostAddresses> addresses = {};
};

class Watchdog {
 public:
  /// Rank 0 listens on a free port of all its addresses. \param progress must outlive the object  \throws Error when no port can be opened
  Watchdog(std::int64_t num_ranks, const Progress& progress);
  /// Another rank: connects. \throws Error when no address can be reached
  Watchdog(std::int64_t rank, std::int64_t num_ranks, const MeetingPoint& meeting_point, const Progress& progress);
  /// The end that was planned: the others are told that this process leaves.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  const MeetingPoint& meeting_point() const;

  /// Blocks SIGTERM in the calling thread and those that it makes later: the launcher's, which comes when a rank died, must leave time for
  /// the message. Before the first thread of the process.
  static void block_signals();

  /// Ends all processes, this one included; one of them prints the message.
  [[noreturn]] void fail(std::string_view message);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace meshseek

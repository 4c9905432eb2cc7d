/// The way from one device of a mesh to the others: bytes between pairs of devices, and nothing else.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace meshseek {

/// The mesh ends: another device failed, left, or sent what was not expected here.
class MeshError : public Error {
 public:
  using Error::Error;
};

/// Which operator sends a message: two devices that do not run the same one find out.
enum class MessageTag : std::uint8_t {
  command,
  handshake,
  all_reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  all_to_all_rows,
  broadcast,
  send,
  barrier
};
constexpr std::string_view to_string(MessageTag tag) {
  constexpr std::array<std::string_view, 10> kNames = {"command",    "handshake",       "all_reduce", "all_gather", "reduce_scatter",
                                                       "all_to_all", "all_to_all_rows", "broadcast",  "send",       "barrier"};
  return static_cast<std::size_t>(tag) < kNames.size() ? kNames[static_cast<std::size_t>(tag)] : "an unknown operator";
}

/// A message under way; valid until it was waited for.
struct Ticket {
  std::int64_t peer = 0;
  std::uint64_t number = 0;
  bool is_send = false;
};

/// One object for each device, used by one thread at a time. Messages from one device to another arrive in the order in which they were
/// sent. Waiting never needs a core for long: it spins for a moment, then yields, then sleeps. A wait ends with MeshError when the mesh has
/// failed.
class Transport {
 public:
  virtual ~Transport() = default;

  /// `bytes` must stay valid and unchanged until wait().
  virtual Ticket start_send(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes) = 0;
  /// The next message of `peer`. \throws MeshError when it has another tag or another size
  virtual Ticket start_receive(std::int64_t peer, MessageTag tag, std::span<std::byte> bytes) = 0;
  virtual void wait(const Ticket& ticket) = 0;

  /// Whether look() works: all devices see each other's memory.
  virtual bool shares_memory() const { return false; }
  /// The bytes of the next message of `peer` where they lie; they stay there until release(). Receives that were started come first.
  virtual std::span<const std::byte> look(std::int64_t peer, MessageTag tag);
  virtual void release(std::int64_t peer);

  /// Ends the whole mesh: every device that waits, now or later, gets a MeshError with this message. The first message stays.
  virtual void fail(std::string_view message) = 0;
};

}  // namespace meshseek

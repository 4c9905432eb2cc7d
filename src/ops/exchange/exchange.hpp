/// One collective of one device while it runs: who takes part, what is under way, and the memory that it needs until all have finished.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "mesh/communicator.hpp"
#include "mesh/device.hpp"

namespace meshseek::exchange {

/// Devices are named by their position along the axis. What was sent or shared is waited for by finish(), and by the destructor after an
/// error, so that nobody reads memory that was freed.
class Exchange {
 public:
  Exchange(Device& device, std::optional<std::int64_t> cluster_axis, MessageTag tag)
      : device_(device), communicator_(device.communicator()), group_(communicator_.group(cluster_axis)), tag_(tag) {}
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  Device& device() const { return device_; }
  ThreadTeam& team() const { return device_.team(); }
  std::int64_t size() const { return group_.size(); }
  std::int64_t position() const { return group_.position; }
  bool shares_memory() const { return communicator_.shares_memory(); }
  Communicator& communicator() const { return communicator_; }

  /// Uninitialised memory, aligned to 64, as long as this object lives.
  std::byte* scratch(std::int64_t bytes);

  void send(std::int64_t to, std::span<const std::byte> bytes) { sends_.push_back(communicator_.start_send(rank(to), tag_, bytes)); }
  /// \param num_read bytes that the receiver reads of them
  void share(std::int64_t with, std::span<const std::byte> bytes, std::int64_t num_read) {
    sends_.push_back(communicator_.share(rank(with), tag_, bytes, num_read));
  }
  Ticket start_receive(std::int64_t from, std::span<std::byte> bytes) { return communicator_.start_receive(rank(from), tag_, bytes); }
  void wait(const Ticket& ticket) { communicator_.wait(ticket); }
  /// \throws MeshError when it is of another size
  std::span<const std::byte> look(std::int64_t at, std::int64_t expected_bytes);
  void release(std::int64_t at);

  /// Gives each device its own number. \param outgoing by position of the receiver \return by position of the sender
  std::vector<std::int64_t> swap_numbers(const std::vector<std::int64_t>& outgoing);

  /// Waits for everything sent and shared so far.
  void finish();

 private:
  std::int64_t rank(std::int64_t position) const { return group_.ranks[static_cast<std::size_t>(position)]; }

  Device& device_;
  Communicator& communicator_;
  const MeshGroup& group_;
  MessageTag tag_;
  std::vector<std::shared_ptr<std::byte>> memory_;
  std::vector<Ticket> sends_;
  std::vector<std::int64_t> looked_at_;  ///< positions whose message is not released yet
};

}  // namespace meshseek::exchange

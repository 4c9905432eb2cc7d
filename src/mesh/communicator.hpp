/// A device's door to the other devices of its mesh: who they are, messages to and from them, and how many bytes went where.
///
/// Rank = row * columns + column. State of a device, never part of a config; used by the device's own thread.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mesh/mesh_shape.hpp"
#include "mesh/progress.hpp"
#include "mesh/transport.hpp"

namespace meshseek {

/// The devices that take part in a collective, in the order in which results are joined.
struct MeshGroup {
  std::vector<std::int64_t> ranks = {};
  std::int64_t position = 0;  ///< of this device in `ranks`
  std::int64_t size() const { return static_cast<std::int64_t>(ranks.size()); }
};

/// One finished collective of this device.
struct CollectiveRecord {
  std::string_view op = {};  ///< "all_reduce", ...; a literal
  std::int64_t layer_idx = -1;
  std::int64_t bytes_sent = 0;
  std::chrono::steady_clock::time_point begin = {};
  std::chrono::steady_clock::time_point end = {};
  std::chrono::steady_clock::duration waited = {};  ///< of this time: for messages of other devices, or until they took this one's
};

class Communicator {
 public:
  /// Alone in a 1x1 mesh.
  Communicator();
  Communicator(const MeshShape& shape, std::int64_t rank, std::unique_ptr<Transport> transport);
  ~Communicator();
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  const MeshShape& shape() const { return shape_; }
  std::int64_t rank() const { return rank_; }
  std::int64_t row() const { return rank_ / shape_.cols; }
  std::int64_t col() const { return rank_ % shape_.cols; }

  /// \param cluster_axis 0: the devices of my column, from row to row; 1: the devices of my row; unset: all, by rank
  const MeshGroup& group(std::optional<std::int64_t> cluster_axis) const;

  // Messages, see Transport. Every device must start the same operators in the same order; `tag` says which.
  Ticket start_send(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes);
  Ticket start_receive(std::int64_t peer, MessageTag tag, std::span<std::byte> bytes);
  void wait(const Ticket& ticket);
  void send(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes) { wait(start_send(peer, tag, bytes)); }
  void receive(std::int64_t peer, MessageTag tag, std::span<std::byte> bytes) { wait(start_receive(peer, tag, bytes)); }

  /// In one process: lets `peer` read `bytes` where they lie until wait(). \param num_read how many of them it will read, for the counters
  bool shares_memory() const { return transport_ != nullptr && transport_->shares_memory(); }
  Ticket share(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes, std::int64_t num_read);
  std::span<const std::byte> look(std::int64_t peer, MessageTag tag);
  void release(std::int64_t peer) { transport_->release(peer); }

  /// Ends the whole mesh: all that wait get a MeshError that names this device, its operator and layer, and `message`.
  void fail(std::string_view message);

  /// The same with the message as it is.
  void end_mesh(std::string_view message);

  Progress& progress() { return progress_; }
  const Progress& progress() const { return progress_; }

  /// Bytes that this device has sent to each rank so far, and in how many messages.
  std::span<const std::int64_t> bytes_sent() const { return bytes_sent_; }
  std::int64_t total_bytes_sent() const;
  std::int64_t num_messages() const { return num_messages_; }
  /// Time that it has spent in wait() and look() so far.
  std::chrono::steady_clock::duration waited() const { return waited_; }

  /// Called after each collective with other devices, on the device's thread. Empty: nobody.
  void set_observer(std::function<void(const CollectiveRecord&)> observer) { observer_ = std::move(observer); }
  void observe(const CollectiveRecord& record) const {
    if (observer_) observer_(record);
  }

 private:
  void count(std::int64_t peer, std::int64_t num_bytes);
  /// Runs wait(), noted as waiting for a device.
  template <class Wait>
  auto clocked(std::int64_t peer, const Wait& wait);

  MeshShape shape_;
  std::int64_t rank_ = 0;
  std::unique_ptr<Transport> transport_;  ///< null: alone
  std::array<MeshGroup, 3> groups_;       ///< of axis 0, axis 1, all
  Progress progress_;
  std::vector<std::int64_t> bytes_sent_;
  std::int64_t num_messages_ = 0;
  std::chrono::steady_clock::duration waited_ = {};
  std::chrono::microseconds link_delay_ = {};  ///< MESHSEEK_TEST_LINK_DELAY_US: before each message
  std::function<void(const CollectiveRecord&)> observer_;
};

}  // namespace meshseek

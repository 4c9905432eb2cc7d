#include "mesh/threads/thread_mesh.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "base/waiting.hpp"

namespace meshseek {
namespace {

struct Message {
  bool is_read = false;  ///< somebody looks at the bytes right now
  MessageTag tag = MessageTag::command;
  std::span<const std::byte> bytes = {};
};

/// Messages from one device to another. The sender's memory is read by the receiver: nothing lies in between.
struct Channel {
  std::mutex mutex;
  std::deque<Message> messages;
  std::atomic<std::uint64_t> num_sent = 0;
  std::atomic<std::uint64_t> num_taken = 0;
};

/// Rung whenever something happened that a device may be waiting for.
struct alignas(64) Bell {
  std::atomic<std::uint32_t> rings = 0;
  void ring() {
    rings.fetch_add(1, std::memory_order_release);
    rings.notify_all();
  }
};

/// What the devices share.
struct Mesh {
  explicit Mesh(std::int64_t num) : num_devices(num), channels(static_cast<std::size_t>(num * num)), bells(static_cast<std::size_t>(num)) {}

  Channel& channel(std::int64_t from, std::int64_t to) { return channels[static_cast<std::size_t>(from * num_devices + to)]; }
  Bell& bell(std::int64_t rank) { return bells[static_cast<std::size_t>(rank)]; }

  std::int64_t num_devices;
  std::vector<Channel> channels;
  std::vector<Bell> bells;
  std::atomic<bool> failed = false;
  std::mutex failure_mutex;
  std::string failure;
};

class ThreadTransport : public Transport {
 public:
  ThreadTransport(std::shared_ptr<Mesh> mesh, std::int64_t rank, int num_spins)
      : mesh_(std::move(mesh)), rank_(rank), num_spins_(num_spins), receives_(static_cast<std::size_t>(mesh_->num_devices)) {}

  Ticket start_send(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes) override {
    Channel& channel = mesh_->channel(rank_, peer);
    std::uint64_t number = 0;
    {
      const std::lock_guard lock(channel.mutex);
      channel.messages.push_back({.tag = tag, .bytes = bytes});
      number = channel.num_sent.fetch_add(1, std::memory_order_release) + 1;
    }
    mesh_->bell(peer).ring();
    return {.peer = peer, .number = number, .is_send = true};
  }

  Ticket start_receive(std::int64_t peer, MessageTag tag, std::span<std::byte> bytes) override {
    Receives& receives = receives_[static_cast<std::size_t>(peer)];
    receives.waiting.push_back({tag, bytes});
    return {.peer = peer, .number = receives.num_done + receives.waiting.size(), .is_send = false};
  }

  void wait(const Ticket& ticket) override {
    if (ticket.is_send) {
      Channel& channel = mesh_->channel(rank_, ticket.peer);
      try {
        return wait_until([&] { return channel.num_taken.load(std::memory_order_acquire) >= ticket.number; });
      } catch (const MeshError&) {
        withdraw(channel);
        throw;
      }
    }
    Receives& receives = receives_[static_cast<std::size_t>(ticket.peer)];
    while (receives.num_done < ticket.number) receive_next(ticket.peer, receives);
  }

  bool shares_memory() const override { return true; }

  std::span<const std::byte> look(std::int64_t peer, MessageTag tag) override {
    Receives& receives = receives_[static_cast<std::size_t>(peer)];
    while (!receives.waiting.empty()) receive_next(peer, receives);
    return next_message(peer, tag).bytes;
  }

  void release(std::int64_t peer) override {
    Channel& channel = mesh_->channel(peer, rank_);
    {
      const std::lock_guard lock(channel.mutex);
      channel.messages.pop_front();
    }
    channel.num_taken.fetch_add(1, std::memory_order_release);
    mesh_->bell(peer).ring();
    ++receives_[static_cast<std::size_t>(peer)].num_done;
  }

  void fail(std::string_view message) override {
    {
      const std::lock_guard lock(mesh_->failure_mutex);
      if (!mesh_->failed) mesh_->failure = message;
      mesh_->failed = true;
    }
    for (Bell& bell : mesh_->bells) bell.ring();
  }

 private:
  struct Receive {
    MessageTag tag = MessageTag::command;
    std::span<std::byte> bytes = {};
  };
  struct Receives {
    std::deque<Receive> waiting;
    std::uint64_t num_done = 0;
  };

  template <class Condition>
  void wait_until(const Condition& condition) {
    const std::atomic<std::uint32_t>& rings = mesh_->bell(rank_).rings;
    while (true) {
      // Read before the condition: what happens after it rings once more.
      const std::uint32_t seen = rings.load(std::memory_order_acquire);
      if (mesh_->failed.load(std::memory_order_acquire)) {
        const std::lock_guard lock(mesh_->failure_mutex);
        throw MeshError(mesh_->failure);
      }
      if (condition()) return;
      wait_while(rings, seen, num_spins_);
    }
  }

  /// The next message of `peer`, left where it is.
  Message next_message(std::int64_t peer, MessageTag tag) {
    Channel& channel = mesh_->channel(peer, rank_);
    while (true) {
      wait_until([&] { return channel.num_sent.load(std::memory_order_acquire) > channel.num_taken.load(std::memory_order_relaxed); });
      const std::lock_guard lock(channel.mutex);
      if (channel.messages.empty()) continue;  // withdrawn: the mesh has failed
      Message& message = channel.messages.front();
      if (message.tag != tag) {
        throw MeshError(
            fmt::format("[mesh] device {} sent a message of {} where device {} is in {}; all devices must run the same operators in "
                        "the same order",
                        peer, to_string(message.tag), rank_, to_string(tag)));
      }
      message.is_read = true;
      return message;
    }
  }

  /// Takes back what nobody reads yet, so that the memory of a device that gives up may be freed, and waits for whoever reads.
  void withdraw(Channel& channel) {
    while (true) {
      {
        const std::lock_guard lock(channel.mutex);
        std::erase_if(channel.messages, [](const Message& message) { return !message.is_read; });
        if (channel.messages.empty()) return;
      }
      std::this_thread::yield();
    }
  }

  void receive_next(std::int64_t peer, Receives& receives) {
    const Receive receive = receives.waiting.front();
    const Message message = next_message(peer, receive.tag);
    if (message.bytes.size() != receive.bytes.size()) {
      release(peer);
      throw MeshError(
          fmt::format("[mesh] device {} sent {} bytes to device {}, which expected {}; all devices must run the same operators in the same "
                      "order, on equal shapes",
                      peer, message.bytes.size(), rank_, receive.bytes.size()));
    }
    if (!message.bytes.empty()) std::memcpy(receive.bytes.data(), message.bytes.data(), message.bytes.size());
    receives.waiting.pop_front();
    release(peer);
  }

  std::shared_ptr<Mesh> mesh_;
  std::int64_t rank_;
  int num_spins_;
  std::vector<Receives> receives_;  ///< by rank of the sender
};

}  // namespace

std::vector<std::shared_ptr<Communicator>> make_thread_mesh(const MeshShape& shape) {
  const auto mesh = std::make_shared<Mesh>(shape.num_devices());
  const int num_spins = spins_for(static_cast<std::size_t>(shape.num_devices()));
  std::vector<std::shared_ptr<Communicator>> communicators;
  for (std::int64_t rank = 0; rank < shape.num_devices(); ++rank) {
    communicators.push_back(std::make_shared<Communicator>(shape, rank, std::make_unique<ThreadTransport>(mesh, rank, num_spins)));
  }
  return communicators;
}

}  // namespace meshseek

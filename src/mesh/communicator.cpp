#include "mesh/communicator.hpp"

#include <fmt/format.h>

#include <numeric>
#include <thread>

#include "base/environment.hpp"
#include "base/host_name.hpp"

namespace meshseek {
namespace {

/// \throws Error for anything but a number of microseconds up to a minute
std::chrono::microseconds link_delay_of_environment() {
  constexpr std::int64_t kMost = 60'000'000;
  return std::chrono::microseconds(number_of_environment("MESHSEEK_TEST_LINK_DELAY_US", kMost, "microseconds").value_or(0));
}

std::array<MeshGroup, 3> groups_of(const MeshShape& shape, std::int64_t rank) {
  std::array<MeshGroup, 3> groups;
  const std::int64_t row = rank / shape.cols;
  const std::int64_t col = rank % shape.cols;
  for (std::int64_t other = 0; other < shape.rows; ++other) groups[0].ranks.push_back(other * shape.cols + col);
  for (std::int64_t other = 0; other < shape.cols; ++other) groups[1].ranks.push_back(row * shape.cols + other);
  groups[2].ranks.resize(static_cast<std::size_t>(shape.num_devices()));
  std::iota(groups[2].ranks.begin(), groups[2].ranks.end(), 0);
  groups[0].position = row;
  groups[1].position = col;
  groups[2].position = rank;
  return groups;
}

}  // namespace

std::span<const std::byte> Transport::look(std::int64_t, MessageTag) {
  throw Error("[mesh] this transport has no memory that devices share");
}
void Transport::release(std::int64_t) {}

Communicator::Communicator() : Communicator({}, 0, nullptr) {}

Communicator::Communicator(const MeshShape& shape, std::int64_t rank, std::unique_ptr<Transport> transport)
    : shape_(shape),
      rank_(rank),
      transport_(std::move(transport)),
      groups_(groups_of(shape, rank)),
      bytes_sent_(static_cast<std::size_t>(shape.num_devices())),
      link_delay_(link_delay_of_environment()) {
  if (rank < 0 || rank >= shape.num_devices() || (transport_ == nullptr && shape.num_devices() > 1))
    throw Error(
        fmt::format("[mesh] rank {} of a mesh {}; expected 0 to {} and a transport", rank, to_string(shape), shape.num_devices() - 1));
}

Communicator::~Communicator() = default;

const MeshGroup& Communicator::group(std::optional<std::int64_t> cluster_axis) const {
  if (!cluster_axis) return groups_[2];
  return groups_.at(static_cast<std::size_t>(*cluster_axis));
}

void Communicator::count(std::int64_t peer, std::int64_t num_bytes) {
  bytes_sent_[static_cast<std::size_t>(peer)] += num_bytes;
  ++num_messages_;
  if (link_delay_.count() > 0) std::this_thread::sleep_for(link_delay_);
}

Ticket Communicator::start_send(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes) {
  count(peer, static_cast<std::int64_t>(bytes.size()));
  return transport_->start_send(peer, tag, bytes);
}

Ticket Communicator::share(std::int64_t peer, MessageTag tag, std::span<const std::byte> bytes, std::int64_t num_read) {
  count(peer, num_read);
  return transport_->start_send(peer, tag, bytes);
}

Ticket Communicator::start_receive(std::int64_t peer, MessageTag tag, std::span<std::byte> bytes) {
  return transport_->start_receive(peer, tag, bytes);
}

template <class Wait>
auto Communicator::clocked(std::int64_t peer, const Wait& wait) {
  const auto begin = std::chrono::steady_clock::now();
  progress_.wait_for(peer);
  auto result = wait();
  progress_.wait_for(-1);
  waited_ += std::chrono::steady_clock::now() - begin;
  return result;
}

void Communicator::wait(const Ticket& ticket) {
  clocked(ticket.peer, [&] {
    transport_->wait(ticket);
    return true;
  });
}

std::span<const std::byte> Communicator::look(std::int64_t peer, MessageTag tag) {
  return clocked(peer, [&] { return transport_->look(peer, tag); });
}

void Communicator::fail(std::string_view message) {
  end_mesh(fmt::format("[mesh] rank {} on host {} failed in {}: {}", rank_, host_name(), to_string(progress_), message));
}

void Communicator::end_mesh(std::string_view message) {
  if (transport_ != nullptr) transport_->fail(message);
}

std::int64_t Communicator::total_bytes_sent() const { return std::accumulate(bytes_sent_.begin(), bytes_sent_.end(), std::int64_t{0}); }

}  // namespace meshseek

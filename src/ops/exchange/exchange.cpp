#include "ops/exchange/exchange.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "ops/memory.hpp"

namespace meshseek::exchange {

Exchange::~Exchange() {
  for (const std::int64_t at : looked_at_) communicator_.release(rank(at));
  for (const Ticket& ticket : sends_) {
    try {
      communicator_.wait(ticket);
    } catch (const std::exception&) {
      // The mesh has failed, which this device is about to be told by the error that brought it here.
    }
  }
}

std::byte* Exchange::scratch(std::int64_t bytes) {
  memory_.push_back(make_scratch<std::byte>(static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1)), device_));
  return memory_.back().get();
}

std::span<const std::byte> Exchange::look(std::int64_t at, std::int64_t expected_bytes) {
  const std::span<const std::byte> bytes = communicator_.look(rank(at), tag_);
  looked_at_.push_back(at);
  if (static_cast<std::int64_t>(bytes.size()) == expected_bytes) return bytes;
  const std::size_t size = bytes.size();
  release(at);
  throw MeshError(
      fmt::format("[{}] device {} has {} bytes where device {} expects {}; all devices must give tensors of equal shape and type",
                  to_string(tag_), rank(at), size, communicator_.rank(), expected_bytes));
}

void Exchange::release(std::int64_t at) {
  std::erase(looked_at_, at);
  communicator_.release(rank(at));
}

std::vector<std::int64_t> Exchange::swap_numbers(const std::vector<std::int64_t>& outgoing) {
  constexpr std::int64_t kBytes = sizeof(std::int64_t);
  std::byte* sent = scratch(kBytes * size());
  std::byte* received = scratch(kBytes * size());
  std::memcpy(sent, outgoing.data(), static_cast<std::size_t>(kBytes * size()));
  std::memcpy(received, outgoing.data(), static_cast<std::size_t>(kBytes * size()));
  std::vector<Ticket> tickets;
  for (std::int64_t from = 0; from < size(); ++from) {
    if (from != position()) tickets.push_back(start_receive(from, {received + from * kBytes, kBytes}));
  }
  for (std::int64_t to = 0; to < size(); ++to) {
    if (to != position()) send(to, {sent + to * kBytes, kBytes});
  }
  for (const Ticket& ticket : tickets) wait(ticket);
  std::vector<std::int64_t> numbers(outgoing.size());
  std::memcpy(numbers.data(), received, static_cast<std::size_t>(kBytes * size()));
  return numbers;
}

void Exchange::finish() {
  for (const Ticket& ticket : sends_) communicator_.wait(ticket);
  sends_.clear();
}

}  // namespace meshseek::exchange

// Messages that neighbours pass on: gathering and broadcasting in a ring and in a line.
#include <algorithm>
#include <array>

#include "ops/exchange/move.hpp"

namespace meshseek::exchange {
namespace {

/// A message that neighbours pass on, in pieces that are under way at the same time.
class ChunkedMessage {
 public:
  ChunkedMessage(std::byte* bytes, std::int64_t num_bytes, std::int64_t num_links) : bytes_(bytes), num_bytes_(num_bytes) {
    num_chunks_ = std::min(num_bytes, num_links);
  }
  std::int64_t num_chunks() const { return num_chunks_; }
  std::byte* bytes() const { return bytes_; }
  std::span<std::byte> chunk(std::int64_t idx) const {
    const std::int64_t begin = num_bytes_ * idx / num_chunks_;
    return {bytes_ + begin, static_cast<std::size_t>(num_bytes_ * (idx + 1) / num_chunks_ - begin)};
  }

 private:
  std::byte* bytes_ = nullptr;
  std::int64_t num_bytes_ = 0;
  std::int64_t num_chunks_ = 0;
};

/// The encoded tensors of all devices, this one's filled in.
std::vector<ChunkedMessage> make_messages(Exchange& exchange, const Wire& wire, const Tensor& x, const std::vector<StridedPart>& targets,
                                          std::int64_t num_links) {
  std::vector<ChunkedMessage> messages;
  for (const StridedPart& target : targets) {
    const std::int64_t num_bytes = wire.num_bytes(target.volume());
    messages.emplace_back(exchange.scratch(num_bytes), num_bytes, num_links);
  }
  const StridedPart whole = contiguous_part(0, x.volume());
  wire.encode(x.bytes().data(), whole, 0, x.volume(), messages[static_cast<std::size_t>(exchange.position())].bytes(), exchange.team());
  return messages;
}

void send_chunks(Exchange& exchange, std::int64_t to, const ChunkedMessage& message) {
  for (std::int64_t idx = 0; idx < message.num_chunks(); ++idx) exchange.send(to, message.chunk(idx));
}

std::vector<Ticket> start_chunks(Exchange& exchange, std::int64_t from, const ChunkedMessage& message) {
  std::vector<Ticket> tickets;
  for (std::int64_t idx = 0; idx < message.num_chunks(); ++idx) tickets.push_back(exchange.start_receive(from, message.chunk(idx)));
  return tickets;
}

/// Takes a message chunk by chunk and passes each on to `to`; -1: to nobody.
void pass_on(Exchange& exchange, const std::vector<Ticket>& tickets, const ChunkedMessage& message, std::int64_t to) {
  for (std::int64_t idx = 0; idx < message.num_chunks(); ++idx) {
    exchange.wait(tickets[static_cast<std::size_t>(idx)]);
    if (to >= 0) exchange.send(to, message.chunk(idx));
  }
}

/// Whom a device hears the root's message from, and whom it tells; -1: nobody.
struct Chain {
  std::int64_t from = -1;
  std::array<std::int64_t, 2> to = {-1, -1};
};

Chain chain_of(const Exchange& exchange, std::int64_t root, Topology topology) {
  const std::int64_t position = exchange.position();
  const std::int64_t size = exchange.size();
  const std::int64_t next = (position + 1) % size;
  const std::int64_t before = (position + size - 1) % size;
  if (topology == Topology::Ring) return {.from = position == root ? -1 : before, .to = {next == root ? -1 : next, -1}};
  const std::int64_t up = position >= root && position + 1 < size ? next : -1;
  const std::int64_t down = position <= root && position > 0 ? before : -1;
  if (position == root) return {.from = -1, .to = {up, down}};
  return {.from = position > root ? before : next, .to = {position > root ? up : down, -1}};
}

}  // namespace

void gather_ring(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, const std::vector<StridedPart>& targets,
                 std::int64_t num_links) {
  const std::int64_t size = exchange.size();
  const std::vector<ChunkedMessage> messages = make_messages(exchange, wire, x, targets, num_links);
  const std::int64_t next = (exchange.position() + 1) % size;
  const std::int64_t before = (exchange.position() + size - 1) % size;
  const auto message_of = [&](std::int64_t position) { return static_cast<std::size_t>(position); };
  std::vector<std::vector<Ticket>> tickets;
  for (std::int64_t step = 1; step < size; ++step) {
    const std::int64_t origin = (exchange.position() + size - step) % size;
    tickets.push_back(start_chunks(exchange, before, messages[message_of(origin)]));
  }
  send_chunks(exchange, next, messages[message_of(exchange.position())]);
  wire.decode(messages[message_of(exchange.position())].bytes(), writable_bytes(y), targets[message_of(exchange.position())],
              exchange.team());
  for (std::int64_t step = 1; step < size; ++step) {
    const std::int64_t origin = (exchange.position() + size - step) % size;
    pass_on(exchange, tickets[static_cast<std::size_t>(step - 1)], messages[message_of(origin)], origin == next ? -1 : next);
    wire.decode(messages[message_of(origin)].bytes(), writable_bytes(y), targets[message_of(origin)], exchange.team());
  }
  exchange.finish();
}

void gather_linear(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, const std::vector<StridedPart>& targets,
                   std::int64_t num_links) {
  const std::int64_t position = exchange.position();
  const std::int64_t last = exchange.size() - 1;
  const std::vector<ChunkedMessage> messages = make_messages(exchange, wire, x, targets, num_links);
  const auto message_of = [&](std::int64_t origin) -> const ChunkedMessage& { return messages[static_cast<std::size_t>(origin)]; };
  std::vector<std::vector<Ticket>> tickets(messages.size());
  // Nearest first: in that order they arrive.
  for (std::int64_t origin = position - 1; origin >= 0; --origin)
    tickets[static_cast<std::size_t>(origin)] = start_chunks(exchange, position - 1, message_of(origin));
  for (std::int64_t origin = position + 1; origin <= last; ++origin)
    tickets[static_cast<std::size_t>(origin)] = start_chunks(exchange, position + 1, message_of(origin));
  if (position > 0) send_chunks(exchange, position - 1, message_of(position));
  if (position < last) send_chunks(exchange, position + 1, message_of(position));
  for (std::int64_t distance = 1; distance <= last; ++distance) {
    for (const std::int64_t origin : {position - distance, position + distance}) {
      if (origin < 0 || origin > last) continue;
      const std::int64_t to = origin < position ? position + 1 : position - 1;
      pass_on(exchange, tickets[static_cast<std::size_t>(origin)], message_of(origin), to > last ? -1 : to);
    }
  }
  for (std::int64_t origin = 0; origin <= last; ++origin)
    wire.decode(message_of(origin).bytes(), writable_bytes(y), targets[static_cast<std::size_t>(origin)], exchange.team());
  exchange.finish();
}

namespace {

void broadcast_direct(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, std::int64_t root) {
  const bool sends = exchange.position() == root;
  std::vector<Transfer> outgoing(static_cast<std::size_t>(exchange.size()));
  std::vector<Transfer> incoming(static_cast<std::size_t>(exchange.size()));
  const StridedPart whole = contiguous_part(0, x.volume());
  if (sends) std::ranges::fill(outgoing, Transfer{.source = whole});
  incoming[static_cast<std::size_t>(root)] = {.source = whole, .target = whole};
  move_direct(exchange, wire, x, outgoing, y, incoming);
}

}  // namespace

void broadcast(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, std::int64_t root, Topology topology,
               std::int64_t num_links) {
  if (topology == Topology::Direct) return broadcast_direct(exchange, wire, x, y, root);
  const StridedPart whole = contiguous_part(0, x.volume());
  const std::int64_t num_bytes = wire.num_bytes(x.volume());
  const ChunkedMessage message(exchange.scratch(num_bytes), num_bytes, num_links);
  const Chain chain = chain_of(exchange, root, topology);
  if (chain.from < 0) {
    wire.encode(x.bytes().data(), whole, 0, x.volume(), message.bytes(), exchange.team());
    for (const std::int64_t to : chain.to) {
      if (to >= 0) send_chunks(exchange, to, message);
    }
  } else {
    pass_on(exchange, start_chunks(exchange, chain.from, message), message, chain.to[0]);
  }
  wire.decode(message.bytes(), writable_bytes(y), whole, exchange.team());
  exchange.finish();
}

}  // namespace meshseek::exchange

#include "ops/exchange/move.hpp"

#include <utility>

namespace meshseek::exchange {
namespace {

/// The same bytes as if they had travelled.
void move_to_itself(Exchange& exchange, const Wire& wire, const Tensor& x, Tensor& y, const Transfer& transfer) {
  if (wire.is_plain()) {
    return copy_part(x.bytes().data(), transfer.source, writable_bytes(y), transfer.target,
                     static_cast<std::int64_t>(element_bytes(x.dtype())), exchange.team());
  }
  std::byte* bytes = exchange.scratch(wire.num_bytes(transfer.source.volume()));
  wire.encode(x.bytes().data(), transfer.source, 0, transfer.source.volume(), bytes, exchange.team());
  wire.decode(bytes, writable_bytes(y), transfer.target, exchange.team());
}

/// What the receiver sees of a part in shared memory: the part alone where it lies together, else the whole tensor.
std::span<const std::byte> shared_bytes(const Tensor& x, const StridedPart& part) {
  if (!part.is_contiguous()) return x.bytes();
  const std::size_t bytes = element_bytes(x.dtype());
  return x.bytes().subspan(static_cast<std::size_t>(part.offset) * bytes, static_cast<std::size_t>(part.volume()) * bytes);
}

void start_outgoing(Exchange& exchange, const Wire& wire, const Tensor& x, const std::vector<Transfer>& outgoing) {
  for (std::int64_t step = 1; step < exchange.size(); ++step) {
    const std::int64_t to = (exchange.position() + step) % exchange.size();
    const StridedPart& part = outgoing[static_cast<std::size_t>(to)].source;
    const std::int64_t num_bytes = wire.num_bytes(part.volume());
    if (num_bytes == 0) continue;
    if (wire.is_plain() && exchange.shares_memory()) {
      exchange.share(to, shared_bytes(x, part), num_bytes);
    } else if (wire.is_plain() && part.is_contiguous()) {
      exchange.send(to, shared_bytes(x, part));
    } else {
      std::byte* bytes = exchange.scratch(num_bytes);
      wire.encode(x.bytes().data(), part, 0, part.volume(), bytes, exchange.team());
      exchange.send(to, {bytes, static_cast<std::size_t>(num_bytes)});
    }
  }
}

/// Reads the others' memory.
void look_at_incoming(Exchange& exchange, const Wire& wire, Tensor& y, const std::vector<Transfer>& incoming, std::int64_t x_bytes) {
  for (std::int64_t step = 1; step < exchange.size(); ++step) {
    const std::int64_t from = (exchange.position() + exchange.size() - step) % exchange.size();
    const Transfer& transfer = incoming[static_cast<std::size_t>(from)];
    const std::int64_t num_bytes = wire.num_bytes(transfer.source.volume());
    if (num_bytes == 0) continue;
    const bool packed = !wire.is_plain() || transfer.source.is_contiguous();
    const std::span<const std::byte> bytes = exchange.look(from, packed ? num_bytes : x_bytes);
    if (packed) {
      wire.decode(bytes.data(), writable_bytes(y), transfer.target, exchange.team());
    } else {
      copy_part(bytes.data(), transfer.source, writable_bytes(y), transfer.target, wire.num_bytes(1), exchange.team());
    }
    exchange.release(from);
  }
}

}  // namespace

std::byte* writable_bytes(Tensor& tensor) {
  switch (tensor.dtype()) {
    case DataType::float32:
      return reinterpret_cast<std::byte*>(tensor.mutable_data<float>().data());
    case DataType::bfloat16:
      return reinterpret_cast<std::byte*>(tensor.mutable_data<bf16>().data());
    case DataType::uint32:
      return reinterpret_cast<std::byte*>(tensor.mutable_data<std::uint32_t>().data());
    case DataType::int32:
      return reinterpret_cast<std::byte*>(tensor.mutable_data<std::int32_t>().data());
    case DataType::uint16:
      return reinterpret_cast<std::byte*>(tensor.mutable_data<std::uint16_t>().data());
    default:
      return reinterpret_cast<std::byte*>(tensor.mutable_data<std::uint8_t>().data());
  }
}

void move_direct(Exchange& exchange, const Wire& wire, const Tensor& x, const std::vector<Transfer>& outgoing, Tensor& y,
                 const std::vector<Transfer>& incoming) {
  struct Arrival {
    std::int64_t from = 0;
    std::byte* bytes = nullptr;
    Ticket ticket = {};
  };
  std::vector<Arrival> arrivals;
  if (!exchange.shares_memory()) {
    for (std::int64_t step = 1; step < exchange.size(); ++step) {
      const std::int64_t from = (exchange.position() + exchange.size() - step) % exchange.size();
      const std::int64_t num_bytes = wire.num_bytes(incoming[static_cast<std::size_t>(from)].target.volume());
      if (num_bytes == 0) continue;
      std::byte* bytes = exchange.scratch(num_bytes);
      arrivals.push_back({from, bytes, exchange.start_receive(from, {bytes, static_cast<std::size_t>(num_bytes)})});
    }
  }
  start_outgoing(exchange, wire, x, outgoing);
  move_to_itself(
      exchange, wire, x, y,
      {outgoing[static_cast<std::size_t>(exchange.position())].source, incoming[static_cast<std::size_t>(exchange.position())].target});
  if (exchange.shares_memory()) look_at_incoming(exchange, wire, y, incoming, static_cast<std::int64_t>(x.bytes().size()));
  for (const Arrival& arrival : arrivals) {
    exchange.wait(arrival.ticket);
    wire.decode(arrival.bytes, writable_bytes(y), incoming[static_cast<std::size_t>(arrival.from)].target, exchange.team());
  }
  exchange.finish();
}

}  // namespace meshseek::exchange

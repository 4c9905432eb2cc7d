// Collectives whose devices do not all do the same: rows for whom they concern, one sender, one receiver.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "ops/capture.hpp"
#include "ops/collectives.hpp"
#include "ops/exchange/collective_call.hpp"
#include "ops/exchange/move.hpp"
#include "ops/memory.hpp"
#include "ops/validate.hpp"

namespace meshseek {
namespace {

using exchange::CollectiveCall;
using exchange::contiguous_part;
using exchange::Exchange;
using exchange::StridedPart;
using exchange::Transfer;
using exchange::Wire;

/// What a receiver must know before the elements come.
struct Header {
  static constexpr std::int64_t kMostDims = 8;
  std::int64_t dtype = 0;
  std::int64_t wire_dtype = 0;
  std::int64_t rank = 0;
  std::array<std::int64_t, kMostDims> dims = {};
};

std::span<const std::byte> bytes_of(const Header& header) { return std::as_bytes(std::span(&header, 1)); }

void check_position(const CollectiveCall& call, std::int64_t position, std::string_view field) {
  if (position < call.size()) return;
  throw ConfigError(
      fmt::format("[{}.{}] {} on an axis of {} devices; expected 0 to {}", call.op(), field, position, call.size(), call.size() - 1));
}

/// A peer that is this device itself would wait for itself.
void check_peer(const CollectiveCall& call, std::int64_t position, std::string_view field) {
  check_position(call, position, field);
  if (position != call.position()) return;
  throw ConfigError(fmt::format("[{}.{}] {} is this device; expected another", call.op(), field, position));
}

void check_counts(const Tensor& x, std::span<const std::int64_t> counts, std::int64_t num_devices) {
  const bool valid =
      std::ranges::all_of(counts, [](std::int64_t count) { return count >= 0; }) && static_cast<std::int64_t>(counts.size()) == num_devices;
  if (valid && std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) == x.dim(0)) return;
  throw ShapeError(
      fmt::format("[all_to_all_rows] send_counts [{}] for x {} and {} devices; expected one count for each device, adding up to {}",
                  fmt::join(counts, ", "), to_string(x.shape()), num_devices, x.dim(0)));
}

/// Runs of rows, one after the other, as parts of a tensor of `row_size` values a row.
std::vector<StridedPart> row_parts(std::span<const std::int64_t> counts, std::int64_t row_size) {
  std::vector<StridedPart> parts;
  std::int64_t begin = 0;
  for (const std::int64_t count : counts) {
    parts.push_back(contiguous_part(begin * row_size, (begin + count) * row_size));
    begin += count;
  }
  return parts;
}

Tensor exchange_rows(Exchange& exchange, const Wire& wire, const Tensor& x, std::span<const std::int64_t> send_counts,
                     std::span<const std::int64_t> receive_counts) {
  const std::int64_t row_size = volume({x.shape().begin() + 1, x.shape().end()});
  Shape shape = x.shape();
  shape.front() = std::accumulate(receive_counts.begin(), receive_counts.end(), std::int64_t{0});
  Tensor y = make_result(shape, x.dtype(), {}, exchange.device(), "all_to_all_rows");  // [received rows, ..]
  const std::vector<StridedPart> sources = row_parts(send_counts, row_size);
  const std::vector<StridedPart> targets = row_parts(receive_counts, row_size);
  std::vector<Transfer> outgoing;
  std::vector<Transfer> incoming;
  for (std::size_t idx = 0; idx < sources.size(); ++idx) {
    outgoing.push_back({.source = sources[idx]});
    incoming.push_back({.source = contiguous_part(0, targets[idx].volume()), .target = targets[idx]});
  }
  move_direct(exchange, wire, x, outgoing, y, incoming);
  return y;
}

}  // namespace

ReceivedRows all_to_all_rows(const Tensor& x, std::span<const std::int64_t> send_counts, const AllToAllRowsConfig& cfg) {
  const RecordedCall recorded(x, "all_to_all_rows", cfg, [&](CallValues& in) { in.add("x", x).add("send_counts", send_counts); });
  validate(cfg, "all_to_all_rows");
  CollectiveCall call(x, cfg.cluster_axis, MessageTag::all_to_all_rows);
  check_counts(x, send_counts, call.size());
  ReceivedRows received = {.rows = x, .receive_counts = {send_counts.begin(), send_counts.end()}};
  if (!call.is_alone()) {
    const Wire wire(x.dtype(), cfg.dtype, "all_to_all_rows");
    call.run([&](Exchange& exchange) {
      received.receive_counts = exchange.swap_numbers(received.receive_counts);
      received.rows = exchange_rows(exchange, wire, x, send_counts, received.receive_counts);
    });
  }
  recorded.finish([&](CallValues& out) { out.add("y", received.rows).add("receive_counts", received.receive_counts); });
  return received;
}

Tensor broadcast(const Tensor& x, const BroadcastConfig& cfg) {
  const RecordedCall recorded(x, "broadcast", cfg, [&](CallValues& in) { in.add("x", x); });
  validate(cfg, "broadcast");
  CollectiveCall call(x, cfg.cluster_axis, MessageTag::broadcast);
  check_position(call, cfg.root, "root");
  if (call.is_alone()) return recorded.result(x);
  const Wire wire(x.dtype(), cfg.dtype, "broadcast");
  Tensor y = make_result(x.shape(), x.dtype(), {}, call.device(), "broadcast");  // as x
  call.run([&](Exchange& exchange) { exchange::broadcast(exchange, wire, x, y, cfg.root, cfg.topology, cfg.num_links); });
  return recorded.result(std::move(y));
}

void send(const Tensor& x, const SendConfig& cfg) {
  validate(cfg, "send");
  CollectiveCall call(x, cfg.cluster_axis, MessageTag::send);
  check_peer(call, cfg.to, "to");
  const Wire wire(x.dtype(), cfg.dtype, "send");
  if (x.rank() > Header::kMostDims)
    throw ShapeError(fmt::format("[send] x {} has more than {} dimensions", to_string(x.shape()), Header::kMostDims));
  Header header = {.dtype = static_cast<std::int64_t>(x.dtype()), .wire_dtype = static_cast<std::int64_t>(wire.dtype()), .rank = x.rank()};
  std::copy(x.shape().begin(), x.shape().end(), header.dims.begin());
  call.run([&](Exchange& exchange) {
    exchange.send(cfg.to, bytes_of(header));
    const std::int64_t num_bytes = wire.num_bytes(x.volume());
    if (num_bytes == 0) return exchange.finish();
    std::span<const std::byte> bytes = x.bytes();
    if (!wire.is_plain()) {
      std::byte* encoded = exchange.scratch(num_bytes);
      wire.encode(x.bytes().data(), contiguous_part(0, x.volume()), 0, x.volume(), encoded, exchange.team());
      bytes = {encoded, static_cast<std::size_t>(num_bytes)};
    }
    exchange.send(cfg.to, bytes);
    exchange.finish();
  });
}

Tensor recv(Device& device, const RecvConfig& cfg) {
  validate(cfg, "recv");
  CollectiveCall call(device, cfg.cluster_axis, "recv", MessageTag::send);
  check_peer(call, cfg.from, "from");
  Tensor y;  // as sent
  call.run([&](Exchange& exchange) {
    Header header;
    exchange.wait(exchange.start_receive(cfg.from, std::as_writable_bytes(std::span(&header, 1))));
    if (header.rank < 0 || header.rank > Header::kMostDims) throw MeshError(fmt::format("[recv] a header of {} dimensions", header.rank));
    const Shape shape(header.dims.begin(), header.dims.begin() + header.rank);
    y = make_result(shape, static_cast<DataType>(header.dtype), {}, device, "recv");
    const Wire wire(y.dtype(), static_cast<DataType>(header.wire_dtype), "recv");
    const std::int64_t num_bytes = wire.num_bytes(y.volume());
    if (num_bytes == 0) return;
    std::byte* bytes = wire.is_plain() ? exchange::writable_bytes(y) : exchange.scratch(num_bytes);
    exchange.wait(exchange.start_receive(cfg.from, {bytes, static_cast<std::size_t>(num_bytes)}));
    if (!wire.is_plain()) wire.decode(bytes, exchange::writable_bytes(y), contiguous_part(0, y.volume()), exchange.team());
  });
  return y;
}

void barrier(Device& device) {
  CollectiveCall call(device, std::nullopt, "barrier", MessageTag::barrier);
  if (call.is_alone()) return;
  // After log2(devices) rounds everyone has heard, by way of others, from everyone.
  call.run([&](Exchange& exchange) {
    for (std::int64_t distance = 1; distance < exchange.size(); distance *= 2) {
      exchange.send((exchange.position() + distance) % exchange.size(), {});
      exchange.wait(exchange.start_receive((exchange.position() + exchange.size() - distance) % exchange.size(), {}));
    }
  });
}

}  // namespace meshseek

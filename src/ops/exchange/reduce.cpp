#include "ops/exchange/reduce.hpp"

#include <algorithm>
#include <array>

#include "ops/cpu/kernels.hpp"

namespace meshseek::exchange {
namespace {

/// One device's share of a sum: elements of a tensor, or a message.
struct Source {
  const std::byte* bytes = nullptr;
  StridedPart part = {};
  bool is_message = false;
};

/// Values [begin, end) of the sequence.
void read(const Source& source, const Wire& wire, std::int64_t begin, std::int64_t end, float* out) {
  if (source.is_message) return wire.decode_floats(source.bytes, source.part.volume(), begin, end - begin, out);
  for_each_run(source.part, begin, end, [&](std::int64_t seq, std::int64_t at, std::int64_t count) {
    read_floats(source.bytes, wire.tensor_dtype(), at, count, out + (seq - begin));
  });
}

void add(const Source& source, const Wire& wire, std::int64_t begin, std::int64_t end, float* sum) {
  const DataType dtype = source.is_message ? wire.dtype() : wire.tensor_dtype();
  if (dtype == DataType::float32) {
    const StridedPart part = source.is_message ? contiguous_part(0, source.part.volume()) : source.part;
    for_each_run(part, begin, end, [&](std::int64_t seq, std::int64_t at, std::int64_t count) {
      cpu::kernels().axpy(1.0F, reinterpret_cast<const float*>(source.bytes) + at, count, sum + (seq - begin));
    });
    return;
  }
  std::array<float, kPieceValues> values;
  read(source, wire, begin, end, values.data());
  cpu::kernels().axpy(1.0F, values.data(), end - begin, sum);
}

void sum_up(const std::vector<Source>& sources, const Wire& wire, std::int64_t volume, float* sum, ThreadTeam& team) {
  constexpr std::size_t kGrain = 16;
  team.parallel_for(static_cast<std::size_t>(ceil_div(volume, kPieceValues)), kGrain, [&](std::size_t first, std::size_t last) {
    for (auto block = static_cast<std::int64_t>(first); block < static_cast<std::int64_t>(last); ++block) {
      const std::int64_t begin = block * kPieceValues;
      const std::int64_t end = std::min(volume, begin + kPieceValues);
      read(sources.front(), wire, begin, end, sum + begin);
      for (std::size_t idx = 1; idx < sources.size(); ++idx) add(sources[idx], wire, begin, end, sum + begin);
    }
  });
}

/// What `to` is given: in shared memory the elements where they lie, else a message.
void start_sending(Exchange& exchange, const Wire& wire, const Tensor& x, const StridedPart& part, std::int64_t to) {
  const std::int64_t num_bytes = wire.num_bytes(part.volume());
  if (num_bytes == 0) return;
  if (wire.is_plain() && exchange.shares_memory()) return exchange.share(to, x.bytes(), num_bytes);
  std::byte* bytes = exchange.scratch(num_bytes);
  wire.encode(x.bytes().data(), part, 0, part.volume(), bytes, exchange.team());
  exchange.send(to, {bytes, static_cast<std::size_t>(num_bytes)});
}

/// The shares of all devices in `part` of their tensors, that of this device as `own`. In shared memory they are looked at: release_all()
/// afterwards.
std::vector<Source> receive_all(Exchange& exchange, const Wire& wire, std::int64_t x_bytes, const Source& own) {
  std::vector<Source> sources(static_cast<std::size_t>(exchange.size()), own);
  const std::int64_t num_bytes = wire.num_bytes(own.part.volume());
  const bool looks = wire.is_plain() && exchange.shares_memory();
  std::vector<Ticket> tickets;
  for (std::int64_t from = 0; from < exchange.size(); ++from) {
    if (from == exchange.position()) continue;
    Source& source = sources[static_cast<std::size_t>(from)];
    source.is_message = !looks;
    if (looks) {
      source.bytes = exchange.look(from, x_bytes).data();
    } else {
      std::byte* bytes = exchange.scratch(num_bytes);
      source.bytes = bytes;
      tickets.push_back(exchange.start_receive(from, {bytes, static_cast<std::size_t>(num_bytes)}));
    }
  }
  for (const Ticket& ticket : tickets) exchange.wait(ticket);
  return sources;
}

void release_all(Exchange& exchange, const Wire& wire) {
  if (!wire.is_plain() || !exchange.shares_memory()) return;
  for (std::int64_t from = 0; from < exchange.size(); ++from) {
    if (from != exchange.position()) exchange.release(from);
  }
}

}  // namespace

void reduce_direct(Exchange& exchange, const Wire& wire, const Reduction& reduction) {
  for (std::int64_t step = 1; step < exchange.size(); ++step) {
    const std::int64_t to = (exchange.position() + step) % exchange.size();
    start_sending(exchange, wire, *reduction.x, reduction.parts[static_cast<std::size_t>(to)], to);
  }
  const StridedPart& own = reduction.parts[static_cast<std::size_t>(exchange.position())];
  if (own.volume() > 0) {
    const auto x_bytes = static_cast<std::int64_t>(reduction.x->bytes().size());
    const std::vector<Source> sources = receive_all(exchange, wire, x_bytes, {.bytes = reduction.x->bytes().data(), .part = own});
    sum_up(sources, wire, own.volume(), reduction.sum, exchange.team());
    release_all(exchange, wire);
  }
  exchange.finish();
}

void reduce_whole(Exchange& exchange, const Wire& wire, const Tensor& x, float* sum) {
  const StridedPart whole = contiguous_part(0, x.volume());
  if (whole.volume() == 0) return;
  const auto x_bytes = static_cast<std::int64_t>(x.bytes().size());
  Source own = {.bytes = x.bytes().data(), .part = whole};
  const std::int64_t num_bytes = wire.num_bytes(whole.volume());
  if (!wire.is_plain()) {
    // All devices must add up the same values: this one's share counts as the others see it.
    std::byte* bytes = exchange.scratch(num_bytes);
    wire.encode(x.bytes().data(), whole, 0, whole.volume(), bytes, exchange.team());
    own = {.bytes = bytes, .part = whole, .is_message = true};
  }
  for (std::int64_t step = 1; step < exchange.size(); ++step) {
    const std::int64_t to = (exchange.position() + step) % exchange.size();
    if (wire.is_plain() && exchange.shares_memory()) {
      exchange.share(to, x.bytes(), x_bytes);
    } else {
      exchange.send(to, {own.bytes, static_cast<std::size_t>(num_bytes)});
    }
  }
  const std::vector<Source> sources = receive_all(exchange, wire, x_bytes, own);
  sum_up(sources, wire, whole.volume(), sum, exchange.team());
  release_all(exchange, wire);
  exchange.finish();
}

}  // namespace meshseek::exchange

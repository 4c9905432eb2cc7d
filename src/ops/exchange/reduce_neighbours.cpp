// Sums that neighbours pass on: in a ring and in a line. Chunks of a part are under way at the same time: one is added to while the next
// one travels.
#include <algorithm>
#include <array>

#include "ops/cpu/kernels.hpp"
#include "ops/exchange/reduce.hpp"

namespace meshseek::exchange {
namespace {

/// Values [begin, end) of a part on their way.
struct Chunk {
  std::int64_t part_idx = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::byte* bytes = nullptr;
  Ticket ticket = {};
  std::int64_t count() const { return end - begin; }
};

class NeighbourReduction {
 public:
  NeighbourReduction(Exchange& exchange, const Wire& wire, const Reduction& reduction)
      : exchange_(exchange), wire_(wire), reduction_(reduction) {}

  /// Expects part `part_idx` as the next message of `from`.
  void start_receive(std::int64_t from, std::int64_t part_idx, std::vector<Chunk>& chunks) {
    for_each_chunk(part_idx, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t num_bytes = wire_.num_bytes(end - begin);
      std::byte* bytes = exchange_.scratch(num_bytes);
      const Ticket ticket = exchange_.start_receive(from, {bytes, static_cast<std::size_t>(num_bytes)});
      chunks.push_back({.part_idx = part_idx, .begin = begin, .end = end, .bytes = bytes, .ticket = ticket});
    });
  }

  /// Sends this device's own values of a part.
  void send_own(std::int64_t to, std::int64_t part_idx) {
    for_each_chunk(part_idx, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t num_bytes = wire_.num_bytes(end - begin);
      std::byte* bytes = exchange_.scratch(num_bytes);
      wire_.encode(storage(), part(part_idx), begin, end, bytes, exchange_.team());
      exchange_.send(to, {bytes, static_cast<std::size_t>(num_bytes)});
    });
  }

  /// Adds this device's values to a chunk and sends it on.
  void pass_on(const Chunk& chunk, std::int64_t to) {
    exchange_.wait(chunk.ticket);
    const std::int64_t num_bytes = wire_.num_bytes(chunk.count());
    std::byte* bytes = exchange_.scratch(num_bytes);
    for_each_block(chunk, [&](std::int64_t at, std::int64_t count) {
      std::array<float, kPieceValues> sum;
      wire_.decode_floats(chunk.bytes, chunk.count(), at, count, sum.data());
      add_own(chunk, at, count, sum.data());
      wire_.encode_floats(sum.data(), chunk.count(), at, count, bytes);
    });
    exchange_.send(to, {bytes, static_cast<std::size_t>(num_bytes)});
  }

  /// The end of a chunk's way: it becomes the sum, with this device's values or added to what is there.
  void keep(const Chunk& chunk, bool adds_own) {
    exchange_.wait(chunk.ticket);
    for_each_block(chunk, [&](std::int64_t at, std::int64_t count) {
      float* sum = reduction_.sum + chunk.begin + at;
      if (adds_own) {
        wire_.decode_floats(chunk.bytes, chunk.count(), at, count, sum);
        return add_own(chunk, at, count, sum);
      }
      std::array<float, kPieceValues> values;
      wire_.decode_floats(chunk.bytes, chunk.count(), at, count, values.data());
      cpu::kernels().axpy(1.0F, values.data(), count, sum);
    });
  }

 private:
  const StridedPart& part(std::int64_t idx) const { return reduction_.parts[static_cast<std::size_t>(idx)]; }
  const std::byte* storage() const { return reduction_.x->bytes().data(); }

  template <class Body>
  void for_each_chunk(std::int64_t part_idx, const Body& body) const {
    const std::int64_t volume = part(part_idx).volume();
    const std::int64_t size = round_up(ceil_div(volume, reduction_.num_links), kFaceSize);
    for (std::int64_t begin = 0; begin < volume; begin += size) body(begin, std::min(volume, begin + size));
  }

  template <class Body>
  void for_each_block(const Chunk& chunk, const Body& body) {
    constexpr std::size_t kGrain = 16;
    exchange_.team().parallel_for(static_cast<std::size_t>(ceil_div(chunk.count(), kPieceValues)), kGrain,
                                  [&](std::size_t first, std::size_t last) {
                                    for (std::size_t block = first; block < last; ++block) {
                                      const std::int64_t at = static_cast<std::int64_t>(block) * kPieceValues;
                                      body(at, std::min(kPieceValues, chunk.count() - at));
                                    }
                                  });
  }

  void add_own(const Chunk& chunk, std::int64_t at, std::int64_t count, float* sum) const {
    std::array<float, kPieceValues> values;
    const std::int64_t begin = chunk.begin + at;
    for_each_run(part(chunk.part_idx), begin, begin + count, [&](std::int64_t seq, std::int64_t element, std::int64_t num) {
      read_floats(storage(), wire_.tensor_dtype(), element, num, values.data() + (seq - begin));
    });
    cpu::kernels().axpy(1.0F, values.data(), count, sum);
  }

  Exchange& exchange_;
  const Wire& wire_;
  const Reduction& reduction_;
};

}  // namespace

void reduce_ring(Exchange& exchange, const Wire& wire, const Reduction& reduction) {
  NeighbourReduction reducer(exchange, wire, reduction);
  const std::int64_t size = exchange.size();
  const std::int64_t position = exchange.position();
  const std::int64_t next = (position + 1) % size;
  const std::int64_t before = (position + size - 1) % size;
  std::vector<Chunk> chunks;
  for (std::int64_t step = 2; step <= size; ++step) reducer.start_receive(before, (position + size - step) % size, chunks);
  reducer.send_own(next, before);
  for (const Chunk& chunk : chunks) {
    if (chunk.part_idx == position) {
      reducer.keep(chunk, true);
    } else {
      reducer.pass_on(chunk, next);
    }
  }
  exchange.finish();
}

void reduce_linear(Exchange& exchange, const Wire& wire, const Reduction& reduction) {
  NeighbourReduction reducer(exchange, wire, reduction);
  const std::int64_t position = exchange.position();
  const std::int64_t last = exchange.size() - 1;
  std::vector<Chunk> upwards;    // from the devices before: the farthest part first, this device's own last
  std::vector<Chunk> downwards;  // from the devices after
  for (std::int64_t part = last; position > 0 && part >= position; --part) reducer.start_receive(position - 1, part, upwards);
  for (std::int64_t part = 0; position < last && part <= position; ++part) reducer.start_receive(position + 1, part, downwards);
  for (std::int64_t part = last; position == 0 && part > 0; --part) reducer.send_own(1, part);
  for (std::int64_t part = 0; position == last && part < last; ++part) reducer.send_own(last - 1, part);
  for (const Chunk& chunk : upwards) {
    if (chunk.part_idx != position) reducer.pass_on(chunk, position + 1);
  }
  for (const Chunk& chunk : downwards) {
    if (chunk.part_idx != position) reducer.pass_on(chunk, position - 1);
  }
  for (const Chunk& chunk : upwards) {
    if (chunk.part_idx == position) reducer.keep(chunk, true);
  }
  for (const Chunk& chunk : downwards) {
    if (chunk.part_idx == position) reducer.keep(chunk, position == 0);
  }
  exchange.finish();
}

}  // namespace meshseek::exchange

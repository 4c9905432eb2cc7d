#include "ops/exchange/wire.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.hpp"
#include "ops/cpu/kernels.hpp"
#include "tensor/block_encoder.hpp"
#include "tensor/block_float.hpp"

namespace meshseek::exchange {
namespace {

bool is_float(DataType dtype) { return dtype == DataType::float32 || dtype == DataType::bfloat16; }

/// Calls body(begin, end) for pieces of at most kPieceValues of [0, count), each beginning at a multiple of it, on all threads.
template <class Body>
void for_each_piece(std::int64_t count, ThreadTeam& team, const Body& body) {
  constexpr std::size_t kGrain = 16;
  team.parallel_for(static_cast<std::size_t>(ceil_div(count, kPieceValues)), kGrain, [&](std::size_t begin, std::size_t end) {
    for (auto piece = static_cast<std::int64_t>(begin); piece < static_cast<std::int64_t>(end); ++piece)
      body(piece * kPieceValues, std::min(count, (piece + 1) * kPieceValues));
  });
}

}  // namespace

void read_floats(const std::byte* storage, DataType dtype, std::int64_t at, std::int64_t count, float* out) {
  if (dtype == DataType::float32) {
    std::memcpy(out, storage + at * 4, static_cast<std::size_t>(count) * 4);
  } else {
    cpu::kernels().widen_bf16(reinterpret_cast<const std::uint16_t*>(storage) + at, count, out);
  }
}

void write_floats(const float* values, std::int64_t count, std::byte* storage, DataType dtype, std::int64_t at) {
  if (dtype == DataType::float32) {
    std::memcpy(storage + at * 4, values, static_cast<std::size_t>(count) * 4);
  } else {
    cpu::kernels().narrow_bf16(values, count, reinterpret_cast<std::uint16_t*>(storage) + at);
  }
}

Wire::Wire(DataType tensor_dtype, std::optional<DataType> wire_dtype, std::string_view op)
    : tensor_(tensor_dtype), wire_(wire_dtype.value_or(tensor_dtype)) {
  const bool converts = is_float(tensor_) && (is_float(wire_) || wire_ == DataType::bfloat8_b);
  if (!is_block_float(tensor_) && (is_plain() || converts)) return;
  throw ShapeError(fmt::format("[{}] x is {} and the wire {}; expected row-major float32 or bfloat16, or an unset dtype", op,
                               to_string(tensor_), to_string(wire_)));
}

std::int64_t Wire::num_bytes(std::int64_t count) const {
  if (wire_ == DataType::bfloat8_b) return ceil_div(count, kFaceSize) * (1 + kFaceSize);
  return count * static_cast<std::int64_t>(element_bytes(wire_));
}

void Wire::encode_floats(const float* values, std::int64_t total, std::int64_t begin, std::int64_t count, std::byte* out) const {
  if (wire_ != DataType::bfloat8_b) return write_floats(values, count, out, wire_, begin);
  auto* exponents = reinterpret_cast<std::uint8_t*>(out) + begin / kFaceSize;
  auto* codes = reinterpret_cast<std::uint8_t*>(out) + ceil_div(total, kFaceSize) + begin;
  const std::int64_t num_whole = count / kFaceSize;
  block_encoder().bfloat8_b(values, num_whole, exponents, codes);
  if (num_whole * kFaceSize == count) return;
  std::array<float, kFaceSize> last = {};
  std::copy(values + num_whole * kFaceSize, values + count, last.begin());
  block_encoder().bfloat8_b(last.data(), 1, exponents + num_whole, codes + num_whole * kFaceSize);
}

void Wire::encode(const std::byte* storage, const StridedPart& part, std::int64_t begin, std::int64_t end, std::byte* out,
                  ThreadTeam& team) const {
  if (is_plain()) {
    const auto bytes = static_cast<std::int64_t>(element_bytes(tensor_));
    if (end - begin == part.volume()) return copy_part(storage, part, out, contiguous_part(0, part.volume()), bytes, team);
    for_each_run(part, begin, end, [&](std::int64_t seq, std::int64_t at, std::int64_t count) {
      copy_part(storage, contiguous_part(at, at + count), out, contiguous_part(seq - begin, seq - begin + count), bytes, team);
    });
    return;
  }
  for_each_piece(end - begin, team, [&](std::int64_t piece_begin, std::int64_t piece_end) {
    std::array<float, kPieceValues> values;
    for_each_run(part, begin + piece_begin, begin + piece_end, [&](std::int64_t seq, std::int64_t at, std::int64_t count) {
      read_floats(storage, tensor_, at, count, values.data() + (seq - begin - piece_begin));
    });
    encode_floats(values.data(), end - begin, piece_begin, piece_end - piece_begin, out);
  });
}

void Wire::decode(const std::byte* in, std::byte* storage, const StridedPart& part, ThreadTeam& team) const {
  const std::int64_t total = part.volume();
  if (is_plain()) {
    return copy_part(in, contiguous_part(0, total), storage, part, static_cast<std::int64_t>(element_bytes(tensor_)), team);
  }
  for_each_piece(total, team, [&](std::int64_t begin, std::int64_t end) {
    std::array<float, kPieceValues> values;
    decode_floats(in, total, begin, end - begin, values.data());
    for_each_run(part, begin, end, [&](std::int64_t seq, std::int64_t at, std::int64_t count) {
      write_floats(values.data() + (seq - begin), count, storage, tensor_, at);
    });
  });
}

void Wire::decode_floats(const std::byte* in, std::int64_t total, std::int64_t begin, std::int64_t count, float* out) const {
  if (wire_ != DataType::bfloat8_b) return read_floats(in, wire_, begin, count, out);
  const auto* exponents = reinterpret_cast<const std::uint8_t*>(in) + begin / kFaceSize;
  const auto* codes = reinterpret_cast<const std::uint8_t*>(in) + ceil_div(total, kFaceSize) + begin;
  const std::int64_t num_whole = count / kFaceSize;
  decode_bfloat8_blocks(exponents, codes, num_whole, out);
  if (num_whole * kFaceSize == count) return;
  std::array<float, kFaceSize> last;
  decode_bfloat8_blocks(exponents + num_whole, codes + num_whole * kFaceSize, 1, last.data());
  std::copy_n(last.begin(), count - num_whole * kFaceSize, out + num_whole * kFaceSize);
}

}  // namespace meshseek::exchange

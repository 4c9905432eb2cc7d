#include "hf/tokenizer_bpe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "base/error.hpp"

namespace meshseek {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

std::uint64_t key_of(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

/// Bytes that stand for themselves in the byte alphabet.
bool is_printable(std::uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

struct ByteAlphabet {
  std::array<std::uint32_t, 256> code_points = {};
  std::array<std::int16_t, 512> bytes = {};
};

constexpr std::uint32_t kFirstStandIn = 0x100;

ByteAlphabet make_alphabet() {
  ByteAlphabet out;
  out.bytes.fill(-1);
  std::uint32_t stand_in = kFirstStandIn;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    out.code_points[byte] = is_printable(byte) ? byte : stand_in++;
    out.bytes[out.code_points[byte]] = static_cast<std::int16_t>(byte);
  }
  return out;
}

const ByteAlphabet& alphabet() {
  static const ByteAlphabet table = make_alphabet();
  return table;
}

}  // namespace

std::uint32_t byte_to_alphabet(std::uint8_t byte) { return alphabet().code_points[byte]; }

std::optional<std::uint8_t> alphabet_to_byte(std::uint32_t code_point) {
  const ByteAlphabet& table = alphabet();
  if (code_point >= table.bytes.size() || table.bytes[code_point] < 0) return std::nullopt;
  return static_cast<std::uint8_t>(table.bytes[code_point]);
}

MergeTable::MergeTable(std::size_t count) : slots_(std::bit_ceil(count * 2 + 2)) {}

std::size_t MergeTable::slot_of(std::uint64_t key) const {
  // Fibonacci hashing: the high bits of the product are well mixed.
  const std::uint64_t mixed = (key ^ (key >> 29)) * 0x9E3779B97F4A7C15ull;
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = static_cast<std::size_t>(mixed >> 32) & mask;
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask;
  return at;
}

bool MergeTable::add(std::int32_t left, std::int32_t right, std::int32_t id) {
  Slot& slot = slots_[slot_of(key_of(left, right))];
  if (slot.key != kFree) return false;
  slot = {key_of(left, right), {count_++, id}};
  return true;
}

const MergeTable::Merge* MergeTable::find(std::int32_t left, std::int32_t right) const {
  const Slot& slot = slots_[slot_of(key_of(left, right))];
  return slot.key == kFree ? nullptr : &slot.merge;
}

void BpeMerger::consider(std::uint32_t position) {
  if (position == kNone || symbols_[position].next == kNone) return;
  const std::int32_t left = symbols_[position].id;
  const std::int32_t right = symbols_[symbols_[position].next].id;
  const MergeTable::Merge* merge = merges_.find(left, right);
  if (merge == nullptr) return;
  heap_.push_back({merge->rank, position, left, right, merge->id});
  std::ranges::push_heap(heap_, std::greater<>{});
}

void BpeMerger::apply(const Candidate& candidate) {
  Symbol& left = symbols_[candidate.position];
  if (left.id != candidate.left || left.next == kNone || symbols_[left.next].id != candidate.right) return;
  Symbol& right = symbols_[left.next];
  left.id = candidate.merged;
  right.id = -1;
  left.next = right.next;
  if (left.next != kNone) symbols_[left.next].previous = candidate.position;
  consider(left.previous);
  consider(candidate.position);
}

void BpeMerger::encode(std::string_view piece, const std::array<std::int32_t, 256>& byte_ids, std::vector<std::int64_t>& out) {
  if (piece.size() >= kNone)
    throw Error(fmt::format("[tokenizer] a piece of {} bytes; expected less than 4 GiB; split the text", piece.size()));
  const auto size = static_cast<std::uint32_t>(piece.size());
  symbols_.resize(size);
  heap_.clear();
  for (std::uint32_t i = 0; i < size; ++i) {
    const auto byte = static_cast<std::uint8_t>(piece[i]);
    if (byte_ids[byte] < 0) throw Error(fmt::format("[tokenizer] byte 0x{:02X} has no token in the vocabulary; use text without it", byte));
    symbols_[i] = {byte_ids[byte], i == 0 ? kNone : i - 1, i + 1 == size ? kNone : i + 1};
  }
  for (std::uint32_t i = 0; i + 1 < size; ++i) {
    if (const auto* merge = merges_.find(symbols_[i].id, symbols_[i + 1].id)) {
      heap_.push_back({merge->rank, i, symbols_[i].id, symbols_[i + 1].id, merge->id});
    }
  }
  std::ranges::make_heap(heap_, std::greater<>{});
  while (!heap_.empty()) {
    std::ranges::pop_heap(heap_, std::greater<>{});
    const Candidate candidate = heap_.back();
    heap_.pop_back();
    apply(candidate);
  }
  for (std::uint32_t i = 0; i < size; i = symbols_[i].next) {
    out.push_back(symbols_[i].id);
    if (symbols_[i].next == kNone) break;
  }
}

}  // namespace meshseek

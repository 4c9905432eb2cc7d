/// Byte pair merging over token ids, near-linear in the length of a piece.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace meshseek {

/// Pairs of neighbouring tokens that may be merged; the pair listed first wins.
class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = 0;  ///< position in the list of merges
    std::int32_t id = 0;     ///< the token that replaces the pair
  };

  explicit MergeTable(std::size_t count);
  /// Adds the next pair; false when it is there already.
  bool add(std::int32_t left, std::int32_t right, std::int32_t id);
  /// Null when the pair does not merge.
  const Merge* find(std::int32_t left, std::int32_t right) const;

 private:
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kFree;
    Merge merge = {};
  };
  std::size_t slot_of(std::uint64_t key) const;

  std::vector<Slot> slots_;  ///< open addressing, a power of two, at most half full
  std::uint32_t count_ = 0;
};

/// Merges the tokens of one piece: always the pair of lowest rank, the leftmost of equals.
/// Keeps its buffers between pieces; one thread at a time.
class BpeMerger {
 public:
  explicit BpeMerger(const MergeTable& merges) : merges_(merges) {}
  /// Appends the ids of `piece` to `out`; `byte_ids[b]` is the token of byte b (-1: none).
  /// \throws Error when a byte has no token.
  void encode(std::string_view piece, const std::array<std::int32_t, 256>& byte_ids, std::vector<std::int64_t>& out);

 private:
  struct Symbol {
    std::int32_t id = 0;  ///< -1: merged into its left neighbour
    std::uint32_t previous = 0;
    std::uint32_t next = 0;
  };
  /// A merge that was possible when it was queued; stale when one of the two symbols has changed since.
  struct Candidate {
    std::uint32_t rank = 0;
    std::uint32_t position = 0;
    std::int32_t left = 0;
    std::int32_t right = 0;
    std::int32_t merged = 0;

    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : position > other.position; }
  };
  void consider(std::uint32_t position);
  void apply(const Candidate& candidate);

  const MergeTable& merges_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

/// The printable character that stands for a byte in byte-level vocabularies (GPT-2's table), and its inverse.
std::uint32_t byte_to_alphabet(std::uint8_t byte);
std::optional<std::uint8_t> alphabet_to_byte(std::uint32_t code_point);

}  // namespace meshseek

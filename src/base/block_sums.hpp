/// Checksums that find a damaged byte.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace meshseek {

/// Sum of the bytes of one block, and sum of each times its place (from 1): when one byte is changed, the two differences tell by how much and where.
struct BlockSum {
  std::uint64_t sum = 0;
  std::uint64_t weighted = 0;
  friend bool operator==(const BlockSum&, const BlockSum&) = default;
};

/// The sums of the blocks of 1 MiB of some content that comes in pieces. Memory speed.
class BlockSums {
 public:
  static constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

  void update(std::span<const std::byte> bytes);
  /// One for each block, the last one possibly short.
  const std::vector<BlockSum>& blocks() const { return blocks_; }

 private:
  std::vector<BlockSum> blocks_;
  std::size_t filled_ = 0;  ///< bytes of the last block
};

/// Where a block was damaged, if exactly one byte of it was: its place in the block.
std::optional<std::size_t> find_damaged_byte(const BlockSum& expected, const BlockSum& actual);

/// 20 hexadecimal digits a block.
std::string to_hex(std::span<const BlockSum> blocks);
/// Empty when the text is not what to_hex() writes.
std::optional<std::vector<BlockSum>> parse_block_sums(std::string_view text);

}  // namespace meshseek

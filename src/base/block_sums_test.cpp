#include "base/block_sums.hpp"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace meshseek {
namespace {

std::vector<std::byte> random_bytes(std::size_t count) {
  std::mt19937 random(5);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

std::vector<BlockSum> sums_of(std::span<const std::byte> bytes) {
  BlockSums sums;
  sums.update(bytes);
  return sums.blocks();
}

TEST(BlockSums, DoNotDependOnHowTheContentComes) {
  const auto bytes = random_bytes(2 * BlockSums::kBlockBytes + 12345);
  const auto whole = sums_of(bytes);
  ASSERT_EQ(whole.size(), 3U);
  BlockSums sums;
  std::mt19937 random(6);
  for (std::span<const std::byte> rest = bytes; !rest.empty();) {
    const std::size_t count = std::min<std::size_t>(rest.size(), random() % 300000);
    sums.update(rest.first(count));
    rest = rest.subspan(count);
  }
  EXPECT_EQ(sums.blocks(), whole);
}

TEST(BlockSums, AreTheSumsTheyClaimToBe) {
  const std::vector<std::byte> bytes(BlockSums::kBlockBytes, std::byte{255});
  const auto sums = sums_of(bytes);
  ASSERT_EQ(sums.size(), 1U);
  constexpr std::uint64_t kCount = BlockSums::kBlockBytes;
  EXPECT_EQ(sums[0].sum, 255 * kCount);
  EXPECT_EQ(sums[0].weighted, 255 * (kCount * (kCount + 1) / 2));
}

TEST(BlockSums, LocateOneDamagedByte) {
  auto bytes = random_bytes(BlockSums::kBlockBytes);
  const BlockSum expected = sums_of(bytes)[0];
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    const std::size_t place = round == 0 ? 0 : round == 1 ? bytes.size() - 1 : random() % bytes.size();
    const std::byte old = bytes[place];
    bytes[place] ^= static_cast<std::byte>(1 + random() % 255);
    EXPECT_EQ(find_damaged_byte(expected, sums_of(bytes)[0]), place);
    bytes[place] = old;
  }
  EXPECT_EQ(find_damaged_byte(expected, expected), std::nullopt);
  bytes[10] = static_cast<std::byte>(std::to_integer<int>(bytes[10]) ^ 1);
  bytes[2000] ^= std::byte{0x80};
  EXPECT_EQ(find_damaged_byte(expected, sums_of(bytes)[0]), std::nullopt);
}

TEST(BlockSums, AreWrittenAndReadAgain) {
  const auto sums = sums_of(random_bytes(BlockSums::kBlockBytes + 1));
  const std::string text = to_hex(sums);
  EXPECT_EQ(text.size(), 40U);
  EXPECT_EQ(parse_block_sums(text), sums);
  EXPECT_EQ(parse_block_sums(""), std::vector<BlockSum>{});
  EXPECT_EQ(parse_block_sums(text.substr(1)), std::nullopt);
  EXPECT_EQ(parse_block_sums(std::string(20, 'g')), std::nullopt);
  EXPECT_EQ(parse_block_sums("-0000001000000000001"), std::nullopt);
}

}  // namespace
}  // namespace meshseek

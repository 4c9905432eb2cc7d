#include "base/block_sums.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace meshseek {
namespace {

constexpr std::size_t kSumDigits = 8;        // 255 * 2^20 < 2^28
constexpr std::size_t kWeightedDigits = 12;  // 255 * 2^39 < 2^48
constexpr std::size_t kDigits = kSumDigits + kWeightedDigits;

/// Sums of a short run, places counted from 1; 32-bit lanes do not overflow, so that the loop is vectorised.
BlockSum sum_run(const std::byte* bytes, std::size_t count) {
  std::uint32_t sum = 0;
  std::uint32_t weighted = 0;
  for (std::size_t idx = 0; idx < count; ++idx) {
    const auto value = std::to_integer<std::uint32_t>(bytes[idx]);
    sum += value;
    weighted += value * static_cast<std::uint32_t>(idx + 1);
  }
  return {sum, weighted};
}

std::optional<std::uint64_t> parse_hex(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  return error == std::errc() && end == digits.data() + digits.size() ? std::optional(value) : std::nullopt;
}

}  // namespace

void BlockSums::update(std::span<const std::byte> bytes) {
  constexpr std::size_t kRun = 4096;  // 255 * kRun * (kRun + 1) / 2 < 2^32
  while (!bytes.empty()) {
    if (filled_ == kBlockBytes || blocks_.empty()) {
      blocks_.emplace_back();
      filled_ = 0;
    }
    const std::size_t count = std::min({bytes.size(), kBlockBytes - filled_, kRun});
    const BlockSum run = sum_run(bytes.data(), count);
    blocks_.back().sum += run.sum;
    blocks_.back().weighted += run.weighted + run.sum * filled_;
    filled_ += count;
    bytes = bytes.subspan(count);
  }
}

std::optional<std::size_t> find_damaged_byte(const BlockSum& expected, const BlockSum& actual) {
  const auto change = static_cast<std::int64_t>(actual.sum) - static_cast<std::int64_t>(expected.sum);
  const auto weighted = static_cast<std::int64_t>(actual.weighted) - static_cast<std::int64_t>(expected.weighted);
  if (change == 0 || change < -255 || change > 255 || weighted % change != 0) return std::nullopt;
  const std::int64_t place = weighted / change;
  if (place < 1 || place > static_cast<std::int64_t>(BlockSums::kBlockBytes)) return std::nullopt;
  return static_cast<std::size_t>(place - 1);
}

std::string to_hex(std::span<const BlockSum> blocks) {
  std::string text;
  text.reserve(blocks.size() * kDigits);
  for (const BlockSum& block : blocks) text += fmt::format("{:08x}{:012x}", block.sum, block.weighted);
  return text;
}

std::optional<std::vector<BlockSum>> parse_block_sums(std::string_view text) {
  if (text.size() % kDigits != 0) return std::nullopt;
  std::vector<BlockSum> blocks;
  blocks.reserve(text.size() / kDigits);
  for (; !text.empty(); text.remove_prefix(kDigits)) {
    const auto sum = parse_hex(text.substr(0, kSumDigits));
    const auto weighted = parse_hex(text.substr(kSumDigits, kWeightedDigits));
    if (!sum || !weighted) return std::nullopt;
    blocks.push_back({*sum, *weighted});
  }
  return blocks;
}

}  // namespace meshseek

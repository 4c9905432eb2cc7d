/// A fast 64-bit checksum for finding differences. Not for adversaries: base/sha256.hpp is.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace meshseek {

/// FNV-1a over words of eight bytes (the last one padded with zeros) with a final mix, started from the length. Little-endian, the same on every machine.
inline std::uint64_t checksum64(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kPrime = 0x100000001B3U;
  std::uint64_t sum = 0xCBF29CE484222325U ^ (bytes.size() * kPrime);
  for (std::size_t begin = 0; begin < bytes.size(); begin += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + begin, bytes.size() - begin < sizeof(word) ? bytes.size() - begin : sizeof(word));
    sum = std::rotl((sum ^ word) * kPrime, 29);
  }
  sum = (sum ^ (sum >> 32U)) * 0xD6E8FEB86659FD93U;
  return sum ^ (sum >> 32U);
}

}  // namespace meshseek

/// Random numbers by name and number: no state, so that any thread can draw any of them.
#pragma once
#include <cstdint>
#include <string_view>

namespace meshseek {

/// The numbers of one named thing under one seed. The same (seed, name, number) gives the same bits on every machine.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name) : key_(mix(seed)) {
    // FNV-1a takes in the name; the bits it leaves alike are spread by mix().
    for (const char c : name) key_ = (key_ ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
    key_ = mix(key_);
  }

  /// A stream of its own for each number, e.g. for each row of a matrix.
  RandomStream sub(std::uint64_t number) const { return RandomStream(bits(number)); }

  /// 64 random bits: SplitMix64, jumped to its number-th output.
  std::uint64_t bits(std::uint64_t number) const { return mix(key_ + (number + 1) * 0x9E3779B97F4A7C15U); }
  /// Uniform in [-1, 1).
  double symmetric(std::uint64_t number) const { return static_cast<double>(bits(number) >> 11) * 0x1p-52 - 1.0; }

 private:
  explicit RandomStream(std::uint64_t key) : key_(key) {}

  static constexpr std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
  }

  std::uint64_t key_;
};

}  // namespace meshseek

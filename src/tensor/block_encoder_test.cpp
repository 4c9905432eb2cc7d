// Every instruction set encodes to the same bits as the plain loop.
#include "tensor/block_encoder.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <vector>

#include "tensor/block_float.hpp"

namespace meshseek {
namespace {

/// Random bit patterns: zeros, denormals, infinities and NaN among them; some blocks are narrow, so that rounding and saturation occur.
std::vector<float> random_blocks(std::size_t num_blocks) {
  std::mt19937 random(7);
  std::vector<float> values;
  for (std::size_t block = 0; block < num_blocks; ++block) {
    const std::uint32_t base = random() % 256;
    const std::uint32_t spread = block % 3 == 0 ? 256 : 1 + random() % 9;
    for (int idx = 0; idx < 16; ++idx) {
      const std::uint32_t exponent = block % 7 == 0 && idx % 2 == 0 ? 0 : (base + random() % spread) % 256;
      const std::uint32_t fraction = random() % 5 == 0 ? 0x7FFFFFU : static_cast<std::uint32_t>(random()) & 0x7FFFFFU;
      values.push_back(std::bit_cast<float>((static_cast<std::uint32_t>(random()) & 0x80000000U) | (exponent << 23) | fraction));
    }
  }
  return values;
}

void expect_plain_loop(EncodeBlocks encode, int magnitude_bits, const std::string& name) {
  constexpr std::size_t kBlocks = 20000;
  const std::vector<float> values = random_blocks(kBlocks);
  std::vector<std::uint8_t> exponents(kBlocks);
  std::vector<std::uint8_t> codes(kBlocks * 16);
  encode(values.data(), kBlocks, exponents.data(), codes.data());
  for (std::size_t block = 0; block < kBlocks; ++block) {
    std::uint8_t expected[16];
    const std::uint8_t exponent = encode_block(std::span<const float, 16>(values.data() + block * 16, 16), magnitude_bits, expected);
    ASSERT_EQ(exponents[block], exponent) << name << " block " << block;
    for (std::size_t idx = 0; idx < 16; ++idx)
      ASSERT_EQ(codes[block * 16 + idx], expected[idx]) << name << " block " << block << " " << idx;
  }
}

TEST(BlockEncoder, EveryInstructionSetEncodesTheSameBits) {
  for (const std::string isa : {"baseline", "avx2", "avx512"}) {
    const BlockEncoder* encoder = block_encoders::find(isa);
    if (encoder == nullptr) continue;
    expect_plain_loop(encoder->bfloat8_b, 7, isa + " bfloat8_b");
    expect_plain_loop(encoder->bfloat4_b, 3, isa + " bfloat4_b");
  }
  EXPECT_NE(block_encoders::find("baseline"), nullptr);
  EXPECT_EQ(block_encoders::find("avx1024"), nullptr);
}

}  // namespace
}  // namespace meshseek

/// Encodes rows of float32 into block-float codes with the widest instructions of this machine; bit for bit what encode_block() gives.
#pragma once
#include <cstdint>
#include <string_view>

namespace meshseek {

/// Blocks of 16 consecutive values. \param exponents one byte a block; \param codes one byte a value (bfloat4_b codes are not packed yet)
using EncodeBlocks = void (*)(const float* values, std::int64_t num_blocks, std::uint8_t* exponents, std::uint8_t* codes);

/// One implementation for both block-float types.
struct BlockEncoder {
  EncodeBlocks bfloat8_b = nullptr;
  EncodeBlocks bfloat4_b = nullptr;
};

/// The fastest one that this machine runs: about 4, 1 and 0.4 billion values a second and core with AVX-512, AVX2 and neither.
const BlockEncoder& block_encoder();

namespace block_encoders {
extern const BlockEncoder kBaseline;
extern const BlockEncoder kAvx2;
extern const BlockEncoder kAvx512;
/// "avx512", "avx2" or "baseline"; a null pointer when this machine cannot run it.
const BlockEncoder* find(std::string_view isa);
}  // namespace block_encoders

}  // namespace meshseek

/// Products of a few rows of activations with block-float matrices that are read where they lie: in tiles of the mapped file. What decode does.
#pragma once
#include <cstdint>

namespace meshseek::cpu {

inline constexpr std::int64_t kMaxStreamRows = 4;  ///< rows of activations that one pass over the tiles serves

/// Neighbouring tiles of one row of tiles (32 rows of the matrix), and the activations that meet them.
struct TileRun {
  const std::uint8_t* tiles = nullptr;  ///< 64 exponents and 1,024 codes (bfloat8_b) or 512 bytes of nibbles (bfloat4_b) each
  std::int64_t num_tiles = 0;           ///< along the row of tiles
  std::int64_t num_x = 0;               ///< 1..kMaxStreamRows
  std::int64_t x_stride = 0;            ///< values from one row of x to the next
  const std::int8_t* codes = nullptr;   ///< int8 kernels: [num_x, x_stride], -127..127
  const float* scales = nullptr;        ///< int8 kernels: [num_x, x_stride / 16]
  const float* x = nullptr;             ///< float kernels: [num_x, x_stride]
  float* out = nullptr;                 ///< dot kernels: [num_x, 32]
  std::int64_t out_stride = 0;          ///< values from one row of out to the next
  std::int64_t asked_step = 64;         ///< bytes between the lines that are asked for ahead: stream_step()
};

/// The kernels return false, and leave anything in `out`, when a block has an exponent that their fast arithmetic does not serve: 255 (Inf, NaN), and, for
/// floats, one so small that its values are no normal numbers. Otherwise the results have the same bits as those of Kernels on the decoded weights.
struct StreamKernels {
  /// out[t * out_stride + r] = sum over k of x[t][k] * w[r][k], 32 rows r; k runs along the tiles. Kernels::dot_block_int8 says how it is added up.
  bool (*dot_int8_b8)(const TileRun& run) = nullptr;
  bool (*dot_int8_b4)(const TileRun& run) = nullptr;
  /// The same with float activations, as Kernels::dot_block adds.
  bool (*dot_b8)(const TileRun& run) = nullptr;
  bool (*dot_b4)(const TileRun& run) = nullptr;
  /// out[t * out_stride + c] += sum over the 32 rows s of x[t][s] * w[s][c], in the order of s; c runs along the tiles (32 * num_tiles values).
  bool (*add_rows_b8)(const TileRun& run) = nullptr;
  bool (*add_rows_b4)(const TileRun& run) = nullptr;
};

/// Bytes between the lines of tiles to come that streaming asks for. The hardware's own prefetching ends with each page of 4 KiB. Measured, bfloat8_b: Intel
/// (Sapphire Rapids, two cores) reads 0.98 of what a loop that only reads gets with every line, 0.88 with one of four; AMD (Zen 4, one core) gets 0.99
/// with one of four.
std::int64_t stream_step();

/// Those of the instruction set that kernels() chose; null where it has none (scalar): weights are decoded first then.
const StreamKernels* stream_kernels();
/// Those of one instruction set, avx2, avx512 or avx512_vnni; null when it has none or this machine lacks it. For tests.
const StreamKernels* find_stream_kernels(const char* isa);

}  // namespace meshseek::cpu

/// The inner loops that decide the speed, one table per instruction set. Arguments are plain pointers and sizes.
#pragma once
#include <cstdint>

#include "ops/cpu/tile_kernels.hpp"
#include "tensor/int8_rows.hpp"

namespace meshseek::cpu {

/// out[t * out_stride + r] = sum over i < k of x[t * x_stride + i] * w[r * w_stride + i]. k is a multiple of 16 (pad with zeros).
struct DotBlock {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  std::int64_t num_x = 0;
  const float* w = nullptr;
  std::int64_t w_stride = 0;
  std::int64_t num_w = 0;
  std::int64_t k = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
};

/// The same for int8 activations and the magnitudes of a block-float slab.
struct Int8Block {
  const std::int8_t* x = nullptr;              ///< [num_x, x_stride], values -127..127
  const float* x_scale = nullptr;              ///< [num_x, x_stride / 16]: one per 16 values of x
  const std::int32_t* x_correction = nullptr;  ///< in the same order: -int8_offset times the sum of the 16 values
  std::int64_t x_stride = 0;
  std::int64_t num_x = 0;
  const std::uint8_t* w = nullptr;  ///< [row group][block][4 quads][16 rows][4 values of k]: -127..127 plus Kernels::int8_offset
  const float* w_scale = nullptr;   ///< [row group][block][16 rows]
  std::int64_t num_row_groups = 0;  ///< groups of 16 output rows
  std::int64_t num_blocks = 0;      ///< k / 16
  float* out = nullptr;             ///< [num_x, out_stride], 16 * num_row_groups values each
  std::int64_t out_stride = 0;
};

/// out[t * out_stride + c] = sum over s < num_rows of weights[t * weights_stride + s * weights_step] * rows[s * row_stride + c], in the order of s.
/// cols is a multiple of 16 (pad the rows of `rows` and `out`). \tparam Row float, or the bits of bf16
template <class Row>
struct WeightedSumOf {
  const float* weights = nullptr;
  std::int64_t weights_stride = 0;
  std::int64_t weights_step = 1;
  std::int64_t num_x = 0;
  const Row* rows = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t num_rows = 0;
  std::int64_t cols = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  bool adds = false;       ///< the sums are added to what `out` holds
  std::int64_t ahead = 0;  ///< of bf16: so many values beyond each row lies what is read next, which is asked for from memory
};
using WeightedSum = WeightedSumOf<float>;
/// cols is a multiple of 32, weights_stride is 1.
using WeightedBf16Sum = WeightedSumOf<std::uint16_t>;

/// So many keys, and values of each, the first-level cache holds as float32 beside the queries.
inline constexpr std::int64_t kMostKeys = 16;
inline constexpr std::int64_t kMostKeyValues = 64;

/// scores[s * num_queries + r] = sum over i < k of key s, value i, times queries[i * num_queries + r], in the order of i.
struct KeyProducts {
  const float* keys = nullptr;               ///< [num_keys, key_stride], or null:
  const std::uint16_t* bf16_keys = nullptr;  ///< the same as bf16
  std::int64_t key_stride = 0;
  std::int64_t num_keys = 0;       ///< at most kMostKeys
  std::int64_t k = 0;              ///< at most kMostKeyValues
  const float* queries = nullptr;  ///< [k, num_queries]
  std::int64_t num_queries = 0;    ///< a multiple of 16
  float* scores = nullptr;         ///< [num_keys, num_queries]
  bool adds = false;               ///< the sums are added to what `scores` holds
};

/// Scores of many query rows over a few tokens, to become the weights of an online softmax.
struct ScoreBlock {
  float* scores =
      nullptr;  ///< [count, num_rows], one token after the other; then exp(score * scale - top), 0 where a row does not see the token
  std::int64_t count = 0;
  std::int64_t num_rows = 0;           ///< a multiple of 16
  const std::int32_t* seen = nullptr;  ///< [num_rows]: each row sees so many of the first tokens; the scores of others may be anything
  float scale = 1.0F;
  float* tops = nullptr;  ///< [num_rows]: the largest score * scale so far; raised
  float* sums = nullptr;  ///< [num_rows]: set to the sum of the block's weights
};

/// Multiplications (and additions) of one round of multiply_add.
inline constexpr std::int64_t kFmaRound = 12 * 16;

/// Some rows of neighbouring block-float tiles of one row of tiles (32 rows of the matrix), to be decoded.
struct TileRows {
  const std::uint8_t* tiles = nullptr;  ///< 64 exponents and 1,024 codes (bfloat8_b) or 512 bytes of nibbles (bfloat4_b) each
  std::int64_t num_tiles = 0;
  std::int64_t first_row = 0;  ///< 0..31
  std::int64_t num_rows = 0;   ///< first_row + num_rows <= 32
  float* out = nullptr;        ///< [num_rows, out_stride], 32 * num_tiles values each
  std::int64_t out_stride = 0;
};

/// Sixteen rows of neighbouring tiles, to be decoded for Int8Block.
struct TileFaces {
  const std::uint8_t* tiles = nullptr;
  std::int64_t num_tiles = 0;
  bool lower = false;           ///< rows 16..31 of the tiles instead of 0..15
  std::uint8_t* out = nullptr;  ///< [2 * num_tiles blocks][4][16][4]
  float* scales = nullptr;      ///< [2 * num_tiles blocks][16]
};

/// Every result depends on its own row of x and of w alone: not on how many rows are computed, nor on where a row lies among them.
struct Kernels {
  const char* isa = nullptr;
  /// What `Int8Block::w` has added to the magnitudes: 128 where the instruction multiplies unsigned with signed bytes, else 0.
  std::int32_t int8_offset = 0;
  /// Sixteen partial sums for each result, in float32, added up in a fixed order.
  void (*dot_block)(const DotBlock& block) = nullptr;
  /// For each block of 16 an exact int32 sum, times x_scale * w_scale; these are added up in float32 in the order of k.
  void (*dot_block_int8)(const Int8Block& block) = nullptr;
  void (*weighted_sum)(const WeightedSum& sum) = nullptr;
  void (*weighted_sum_bf16)(const WeightedBf16Sum& sum) = nullptr;
  void (*multiply_keys)(const KeyProducts& products) = nullptr;
  /// values[i] = exp(values[i] * factor - top), within 2 units in the last place, for exponents up to 88; below 2^-126: 0. NaN stays NaN.
  /// \return their sum
  float (*exp_row)(float* values, std::int64_t count, float factor, float top) = nullptr;
  /// With the exponential of exp_row. NaN raises no top.
  void (*weigh_scores)(const ScoreBlock& block) = nullptr;
  /// values[i] = 1 / (1 + exp(-values[i])), and values[i] times that: within 4 units in the last place above -87. NaN stays NaN.
  void (*sigmoid)(float* values, std::int64_t count) = nullptr;
  void (*silu)(float* values, std::int64_t count) = nullptr;
  /// `rounds` times kFmaRound multiplications and as many additions in registers: what the machine can do at most. \return something of the result
  float (*multiply_add)(std::int64_t rounds) = nullptr;
  /// The same with int8: four times as many products (and additions) a round.
  std::int32_t (*multiply_add_int8)(std::int64_t rounds) = nullptr;
  /// The sum of values[i]^2 in float64: sixteen sums, added up in a fixed order.
  double (*sum_of_squares)(const float* values, std::int64_t count) = nullptr;
  /// y[i] += a * x[i]
  void (*axpy)(float a, const float* x, std::int64_t count, float* y) = nullptr;
  /// out[i] = the float32 whose upper half is bits[i]
  void (*widen_bf16)(const std::uint16_t* bits, std::int64_t count, float* out) = nullptr;
  /// bits[i] = to_bf16(values[i])
  void (*narrow_bf16)(const float* values, std::int64_t count, std::uint16_t* bits) = nullptr;
  /// values[i] = round_to_bf16(values[i])
  void (*round_bf16)(float* values, std::int64_t count) = nullptr;
  /// Blocks of 16 values become int8: scale = amax / 127, codes rounded to nearest even. A block of zeros has scale 0; a block that holds NaN or infinity
  /// has scale NaN and codes 0, which makes every product with it NaN. `count` is a multiple of 16; sums[i] is the sum of a block's codes.
  void (*quantise)(const float* values, std::int64_t count, std::int8_t* codes, float* scales, std::int32_t* sums) = nullptr;
  /// What decode_tile_row() gives, bit for bit.
  void (*decode_b8)(const TileRows& rows) = nullptr;
  void (*decode_b4)(const TileRows& rows) = nullptr;
  /// Magnitudes plus int8_offset, and scales, as WeightMatrix::decode_magnitudes() says.
  void (*pack_b8)(const TileFaces& faces) = nullptr;
  void (*pack_b4)(const TileFaces& faces) = nullptr;
  /// Products of many rows on tiles of a matrix unit; null where there is none.
  const TileKernels* tiles = nullptr;
};

/// The table of the best instruction set of this machine, or of MESHSEEK_FORCE_ISA=scalar|avx2|avx512|amx. Chosen once.
/// \throws Error when the forced one is unknown or not supported here
const Kernels& kernels();
/// The table for a value of MESHSEEK_FORCE_ISA; null: the best one. \throws Error as above
const Kernels& choose_kernels(const char* forced_isa);
/// One table by name, the one with VNNI where this machine has it; null when this machine lacks the instruction set. For tests.
const Kernels* find_kernels(const char* isa);
/// Table `idx` of all that this machine can run, worst first, also those that a better one of the same name replaces; null beyond the last. For tests.
const Kernels* kernels_at(int idx);

}  // namespace meshseek::cpu

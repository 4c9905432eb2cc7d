/// Products on tiles of a matrix unit (Intel AMX): sixteen outputs times sixteen rows of x are multiplied at once.
///
/// y^T = W x^T: stored rows of W are the left operand, whose tile row is 64 bytes of consecutive k of one output, so that block floats are decoded without
/// a transposition; rows of x are the right operand and are packed once per product. What is multiplied over kTileChunk values of k stays in tiles.
///
/// **bf16** (HiFi2). Block floats are exact in bf16, other weights and x are rounded to it. Products are exact; even and odd values of k are added up apart
/// over 32 values, each product with one rounding, then to the sum: with n = ceil(k / 32) a product passes at most 16 + 1 + n roundings, and
///   |y - sum x w| <= tile_roundings(k) * 2^-24 * sum |x w|,   tile_roundings(k) = 18 + ceil(k / 32)
/// for rounded x and w. Values below 2^-126 count as zero, x and w as well as sums: that adds up to 2^-126 * (k + sum |x| + sum |w|).
///
/// **int8** (LoFi; block floats only). x has one scale for the kTileChunk values of a chunk c, d_c = max |x| / 127, codes rounded to nearest; w of one output
/// one scale too, s_c = 2^(e - 133), e the largest of the exponents that its blocks share: the codes of the others are shifted to it, rounded to nearest.
/// Sums of a chunk are exact, then scaled and added in float32. With half steps as errors
///   |y - sum x w| <= sum over k of (d_c / 2 * |w| + s_c / 2 * |x| + d_c * s_c / 4) + 2^-24 * (2 + num_chunks) * sum |x' w'|
/// where x' and w' are the quantised values, and where s_c = 0 for outputs whose blocks have one exponent in the chunk (bfloat4_b: within 4 of each other).
/// NaN or infinity in a chunk makes the sums that it meets NaN. Blocks smaller than 2^-119 may count as zero.
///
/// **int16** (HiFi2 of block floats, where there is no matrix unit that multiplies bf16; LoFi too where there are no panels of int8). As int8, but chunks have kInt16Chunk values of k, d_c is
/// max |x| / 8191, and s_c = 2^(e - 137): blocks whose exponent is at most 4 below the largest of the chunk stay exact, magnitudes of bfloat4_b 8 below. The
/// bound is that of int8, with one rounding more, of a sum to float32: 2^-24 * (3 + num_chunks) * sum |x' w'|. Blocks smaller than 2^-115 may count as zero.
///
/// Every result depends on its own row of x and its own output alone, not on the number of rows nor on how the work is cut up.
#pragma once
#include <cstddef>
#include <cstdint>

namespace meshseek::cpu {

inline constexpr std::int64_t kTileRows = 16;     ///< of a tile
inline constexpr std::int64_t kTileBytes = 1024;  ///< rows of 64 bytes
inline constexpr std::int64_t kPanelRows = 32;    ///< rows of x, or outputs, that meet in two times two tiles
inline constexpr std::int64_t kTileChunk =
    512;  ///< values of k: packed rows of a panel stay in the first-level cache, int8 sums below 2^23

inline constexpr std::int64_t kBf16Step = 32;  ///< values of k in a tile row
inline constexpr std::int64_t kInt8Step = 64;
inline constexpr std::int64_t kInt16Group = 64;  ///< values of k in two tile rows: the even ones in the first, the odd ones in the second
inline constexpr std::int64_t kInt16Chunk = 128;
inline constexpr std::int32_t kMostInt8 = 127;
inline constexpr std::int32_t kMostInt16 = 8191;  ///< kInt16Chunk products with weights of up to 127 * 16 stay below 2^31

/// What packed values are.
enum class PanelForm : std::uint8_t { bf16, int8, int16 };

/// Tile rows that hold `count` values of k.
constexpr std::int64_t steps_of(PanelForm form, std::int64_t count) {
  if (form == PanelForm::int16) return 2 * ((count + kInt16Group - 1) / kInt16Group);
  const std::int64_t step = form == PanelForm::int8 ? kInt8Step : kBf16Step;
  return (count + step - 1) / step;
}
constexpr std::int64_t value_bytes(PanelForm form) { return form == PanelForm::int8 ? 1 : 2; }
/// Values of k that share a scale: a divisor of kTileChunk. bf16 has none.
constexpr std::int64_t scale_chunk(PanelForm form) { return form == PanelForm::int16 ? kInt16Chunk : kTileChunk; }

/// Roundings that a product of bf16 may pass; see above.
constexpr double tile_roundings(std::int64_t k) { return 18.0 + static_cast<double>((k + 31) / 32); }

/// Neighbouring block-float tiles of one row of tiles: 32 outputs.
struct StoredTiles {
  const std::uint8_t* tiles = nullptr;
  std::int64_t num_blocks = 0;  ///< blocks of 16 values of k that belong to the matrix: two in a tile, the last tile may have one
  void* out = nullptr;          ///< [steps][2 tiles][16 outputs][64 bytes]; integers: the last step is filled up with zeros
  float* scales = nullptr;      ///< integers: [chunks][32 outputs]
};

/// Up to 32 rows of x, 64 bytes a step.
struct PackedRows {
  const void* rows = nullptr;  ///< [num_rows, row_bytes]
  std::int64_t row_bytes = 0;  ///< a multiple of 64
  std::int64_t num_rows = 0;   ///< 1..kPanelRows
  std::int64_t num_steps = 0;
  void* out = nullptr;  ///< [num_steps][1 or 2 tiles][16 groups of k][16 rows][4 bytes]; rows that are lacking are zeros
};

/// One panel of x and some outputs.
struct TileProduct {
  const void* x = nullptr;          ///< as PackedRows::out, or [num_rows, x_row_bytes]
  const float* x_scales = nullptr;  ///< integers: [chunks][kPanelRows]
  std::int64_t num_x_tiles = 1;     ///< 1 or 2
  std::int64_t num_rows = 0;        ///< of x that lie one after the other: 1..TileKernels::few_rows; 0: they are packed
  std::int64_t x_row_bytes = 0;
  const void* w = nullptr;          ///< [num_pairs] of StoredTiles::out
  const float* w_scales = nullptr;  ///< integers: [num_pairs][chunks][32]
  std::int64_t num_pairs = 0;       ///< of 32 outputs
  std::int64_t num_steps = 0;       ///< of k
  float* sums = nullptr;            ///< [32 * num_pairs outputs][kPanelRows]; what belongs to no tile or row of x is left alone
  bool adds = false;                ///< to what is there
  const std::byte* next = nullptr;  ///< asked for from memory meanwhile
  std::int64_t next_bytes = 0;
};

inline constexpr std::int64_t kTileTokens = 64;  ///< that attention passes over at once

/// Scores of query rows over kTileTokens tokens.
struct TileScores {
  const std::uint16_t* keys = nullptr;  ///< [kTileTokens, key_stride] bf16, kBf16Step * num_steps values of each
  std::int64_t key_stride = 0;
  std::int64_t num_steps = 0;
  const void* queries = nullptr;    ///< panels of 32 rows as PackedRows::out, one after the other
  std::int64_t num_tiles = 0;       ///< of 16 query rows
  float* scores = nullptr;          ///< [kTileTokens, 16 * num_tiles]
  const std::byte* next = nullptr;  ///< asked for from memory meanwhile
  std::int64_t next_bytes = 0;
};

/// sums[r][c] += sum over the tokens t < count of weights[t][r] rounded to bf16 * values[t][c]; c in the order that order_columns ends.
struct TileValues {
  const float* weights = nullptr;         ///< [kTileTokens, 16 * num_tiles], zeros from `count` on
  const std::uint16_t* values = nullptr;  ///< [count, value_stride] bf16, `width` values of each, all of them numbers
  std::int64_t value_stride = 0;
  std::int64_t count = 0;        ///< 1..kTileTokens
  std::int64_t num_tiles = 0;    ///< of 16 query rows
  std::int64_t width = 0;        ///< a multiple of kTileTokens
  float* sums = nullptr;         ///< [16 * num_tiles, width]
  void* weight_tiles = nullptr;  ///< room for num_tiles * 2 * kTileBytes
  const std::byte* next = nullptr;
  std::int64_t next_bytes = 0;
};

/// Where there is no matrix unit, integer products of the same panels may be there alone; int8 has the bits of tiles.
struct TileKernels {
  void (*bf16_of_b8)(const StoredTiles& stored) = nullptr;
  void (*bf16_of_b4)(const StoredTiles& stored) = nullptr;
  void (*int8_of_b8)(const StoredTiles& stored) = nullptr;
  void (*int8_of_b4)(const StoredTiles& stored) = nullptr;
  void (*int16_of_b8)(const StoredTiles& stored) = nullptr;
  void (*int16_of_b4)(const StoredTiles& stored) = nullptr;
  std::int64_t few_rows = 0;   ///< integers: panels of so many rows or fewer are multiplied as they lie
  std::uint8_t int8_flip = 0;  ///< bits that int8 weights are stored with flipped: 0x80 is 128 added
  /// codes[i] of one chunk of a row, and their scale; `count` is a multiple of 16. NaN or infinity: scale NaN, codes 0.
  float (*quantise)(const float* values, std::int64_t count, std::int8_t* codes) = nullptr;
  /// The same of a chunk of int16: `count` is a multiple of kInt16Group; of each such group the even codes come before the odd ones.
  float (*quantise_int16)(const float* values, std::int64_t count, std::int16_t* codes) = nullptr;
  void (*pack)(const PackedRows& rows) = nullptr;
  void (*multiply_bf16)(const TileProduct& product) = nullptr;  ///< null: none
  void (*multiply_int8)(const TileProduct& product) = nullptr;
  void (*multiply_int16)(const TileProduct& product) = nullptr;  ///< null: none; then there is multiply_bf16, or HiFi2 has no panels
  /// rows[t * stride + r] = sums[r * kPanelRows + t] for 16 * num_tiles rows t and num_outputs (a multiple of 16) outputs r.
  void (*transpose_sums)(const float* sums, std::int64_t num_tiles, std::int64_t num_outputs, float* rows, std::int64_t stride) = nullptr;
  /// Attention, or null; bounds in cpu/tile_attention.hpp.
  void (*score)(const TileScores& scores) = nullptr;
  void (*add_values)(const TileValues& values) = nullptr;
  /// Brings the columns of sums [num_rows, width] of add_values into their order.
  void (*order_columns)(float* sums, std::int64_t num_rows, std::int64_t width) = nullptr;
  /// `rounds` times kTileRound products of two tiles: what a matrix unit can do at most; or null. \return something of the result
  float (*multiply_add_bf16)(std::int64_t rounds) = nullptr;
  float (*multiply_add_int8)(std::int64_t rounds) = nullptr;
  /// `rounds` times kInt16Round products of int16, as Kernels::multiply_add; or null.
  std::int32_t (*multiply_add_int16)(std::int64_t rounds) = nullptr;
};

inline constexpr std::int64_t kTileRound = 4;
inline constexpr std::int64_t kInt16Round = 12 * 32;

}  // namespace meshseek::cpu

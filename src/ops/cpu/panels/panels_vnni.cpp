// Int8 products of panels (cpu/tile_kernels.hpp) with AVX-512 VNNI: what machines without a matrix unit have in place of tiles, with their bits.
#include <immintrin.h>

#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"

namespace meshseek::cpu::avx512_vnni {

namespace {

#include "ops/cpu/panels/vector_types.inc"

/// The instruction multiplies unsigned by signed bytes: weights are stored with 128 added.
constexpr std::int32_t kInt8Flip = static_cast<std::int32_t>(0x80808080);

// Each needs those before it.
// clang-format off
#include "ops/cpu/panels/lanes_avx512.inc"
#include "ops/cpu/block_codes.inc"
#include "ops/cpu/panels/vectors.inc"
#include "ops/cpu/panels/stored_int8.inc"
#include "ops/cpu/panels/rows.inc"
// clang-format on

Ints add_products(const Ints& sum, const Ints& w, const Ints& x) {
  return reinterpret_cast<Ints>(
      _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(w), reinterpret_cast<__m512i>(x)));
}

/// Steps begin..end of k, at most one chunk.
struct Chunk {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t idx = 0;
};

/// What the 128 that all weights have too much make of each row of x.
template <int X>
void sum_excess(const TileProduct& p, const Chunk& chunk, Ints* excess) {
  const auto* x = static_cast<const std::uint8_t*>(p.x);
  for (int tile = 0; tile < X; ++tile) excess[tile] = Ints{};
  for (std::int64_t line = chunk.begin * X * kTileRows; line < chunk.end * X * kTileRows; ++line) {
    Ints& sum = excess[line / kTileRows % X];
    sum = add_products(sum, Ints{} + kInt8Flip, load<Ints>(x + line * 64));
  }
}

/// R outputs of one tile: each dword of a weight meets 16 rows of x at once.
template <int X, int R>
void multiply_outputs(const TileProduct& p, const Chunk& chunk, std::int64_t output, const Ints* excess) {
  const std::int64_t pair = output / kPanelRows, row = output % kPanelRows;
  const auto* x = static_cast<const std::uint8_t*>(p.x);
  const auto* w = static_cast<const std::uint8_t*>(p.w) + pair * p.num_steps * kPairBytes + row * 64;
  Ints sum[R][X];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int tile = 0; tile < X; ++tile) sum[r][tile] = -excess[tile];
  }
  for (std::int64_t step = chunk.begin; step < chunk.end; ++step) {
    const std::uint8_t* lines = x + step * X * kTileBytes;
    const std::uint8_t* codes = w + step * kPairBytes;
    ask_for_next(p, output / R, p.num_pairs * kPanelRows / R, chunk.begin, chunk.end, step);
    for (std::int64_t group = 0; group < 16; ++group, lines += 64, codes += 4) {
      Ints values[X];
#pragma GCC unroll 2
      for (int tile = 0; tile < X; ++tile) values[tile] = load<Ints>(lines + tile * kTileBytes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const Ints weights = Ints{} + load<std::int32_t>(codes + r * 64);
#pragma GCC unroll 2
        for (int tile = 0; tile < X; ++tile) sum[r][tile] = add_products(sum[r][tile], weights, values[tile]);
      }
    }
  }
  const float* w_scales = w_scales_of(p, pair, chunk.idx) + row;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int tile = 0; tile < X; ++tile)
      add_scaled(sum[r][tile], p.x_scales + chunk.idx * kPanelRows + tile * 16, w_scales + r,
                 p.sums + (output + r) * kPanelRows + tile * 16, p.adds || chunk.idx > 0);
  }
}

/// Sixteen sums: more than the latency of an instruction times the units.
template <int X>
void multiply_chunk(const TileProduct& p, const Chunk& chunk) {
  constexpr int kOutputs = 16 / X;
  Ints excess[X];
  sum_excess<X>(p, chunk, excess);
  for (std::int64_t output = 0; output < p.num_pairs * kPanelRows; output += kOutputs)
    multiply_outputs<X, kOutputs>(p, chunk, output, excess);
}

void multiply_int8(const TileProduct& p) {
  constexpr std::int64_t kSteps = kTileChunk / kInt8Step;
  for (Chunk chunk; chunk.begin < p.num_steps; chunk.begin = chunk.end, ++chunk.idx) {
    chunk.end = chunk.begin + kSteps < p.num_steps ? chunk.begin + kSteps : p.num_steps;
    if (p.num_x_tiles == 2)
      multiply_chunk<2>(p, chunk);
    else
      multiply_chunk<1>(p, chunk);
  }
}

}  // namespace

const TileKernels kPanelKernels = {.int8_of_b8 = int8_of_stored<7>,
                                   .int8_of_b4 = int8_of_stored<3>,
                                   .int8_flip = 0x80,
                                   .quantise = quantise,
                                   .pack = pack,
                                   .multiply_int8 = multiply_int8,
                                   .transpose_sums = transpose_sums};

}  // namespace meshseek::cpu::avx512_vnni

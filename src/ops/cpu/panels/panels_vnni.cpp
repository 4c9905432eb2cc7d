// Integer products of panels (cpu/tile_kernels.hpp) with AVX-512 VNNI: what machines without a matrix unit have in place of tiles, with their bits.
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
#include "ops/cpu/panels/stored_integers.inc"
#include "ops/cpu/panels/rows.inc"
// clang-format on

using HalfShorts __attribute__((vector_size(32))) = std::int16_t;

/// Every second of two times sixteen codes. \tparam kFirst 0: the even ones
template <int kFirst, int... kLane>
HalfShorts every_second(const HalfShorts& first, const HalfShorts& second, Lanes<kLane...>) {
  return __builtin_shufflevector(first, second, (2 * kLane + kFirst)...);
}

float quantise_int16(const float* values, std::int64_t count, std::int16_t* codes) {
  const float scale = chunk_scale(values, count, kMostInt16);
  const auto codes_at = [&](std::int64_t idx) {
    const Ints steps = is_regular_scale(scale) ? steps_in(values + idx, scale, kMostInt16) : Ints{};
    return __builtin_convertvector(steps, HalfShorts);
  };
  for (std::int64_t idx = 0; idx < count; idx += 32) {
    const HalfShorts first = codes_at(idx), second = codes_at(idx + 16);
    std::int16_t* out = codes + idx / kInt16Group * kInt16Group + idx % kInt16Group / 2;
    store(every_second<0>(first, second, AllLanes()), out);
    store(every_second<1>(first, second, AllLanes()), out + kInt16Group / 2);
  }
  return scale;
}

/// Adds the products of four int8, weights with 128 added, or of two int16, in each lane.
template <PanelForm kForm>
Ints add_products(const Ints& sum, const Ints& w, const Ints& x) {
  const auto a = reinterpret_cast<__m512i>(w), b = reinterpret_cast<__m512i>(x), c = reinterpret_cast<__m512i>(sum);
  if constexpr (kForm == PanelForm::int8) return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(c, a, b));
  return reinterpret_cast<Ints>(_mm512_dpwssd_epi32(c, a, b));
}

/// Steps begin..end of k that share scales.
struct Chunk {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t idx = 0;
};

/// What the 128 that all int8 weights have too much make of each row of x.
template <PanelForm kForm, int X>
void sum_excess(const TileProduct& p, const Chunk& chunk, Ints* excess) {
  const auto* x = static_cast<const std::uint8_t*>(p.x);
  for (int tile = 0; tile < X; ++tile) excess[tile] = Ints{};
  if constexpr (kForm != PanelForm::int8) return;
  for (std::int64_t line = chunk.begin * X * kTileRows; line < chunk.end * X * kTileRows; ++line) {
    Ints& sum = excess[line / kTileRows % X];
    sum = add_products<kForm>(sum, Ints{} + kInt8Flip, load<Ints>(x + line * 64));
  }
}

/// R outputs of one tile: each dword of a weight meets 16 rows of x at once.
template <PanelForm kForm, int X, int R>
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
        for (int tile = 0; tile < X; ++tile) sum[r][tile] = add_products<kForm>(sum[r][tile], weights, values[tile]);
      }
    }
  }
  const float* w_scales = w_scales_of<kForm>(p, pair, chunk.idx) + row;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
    for (int tile = 0; tile < X; ++tile)
      add_scaled(sum[r][tile], p.x_scales + chunk.idx * kPanelRows + tile * 16, w_scales + r,
                 p.sums + (output + r) * kPanelRows + tile * 16, p.adds || chunk.idx > 0);
  }
}

/// Sixteen sums: more than the latency of an instruction times the units.
template <PanelForm kForm, int X>
void multiply_chunk(const TileProduct& p, const Chunk& chunk) {
  constexpr int kOutputs = 16 / X;
  Ints excess[X];
  sum_excess<kForm, X>(p, chunk, excess);
  for (std::int64_t output = 0; output < p.num_pairs * kPanelRows; output += kOutputs)
    multiply_outputs<kForm, X, kOutputs>(p, chunk, output, excess);
}

template <PanelForm kForm>
void multiply_integers(const TileProduct& p) {
  constexpr std::int64_t kSteps = steps_of(kForm, scale_chunk(kForm));
  for (Chunk chunk; chunk.begin < p.num_steps; chunk.begin = chunk.end, ++chunk.idx) {
    chunk.end = chunk.begin + kSteps < p.num_steps ? chunk.begin + kSteps : p.num_steps;
    if (p.num_x_tiles == 2)
      multiply_chunk<kForm, 2>(p, chunk);
    else
      multiply_chunk<kForm, 1>(p, chunk);
  }
}

/// As multiply_add_int8 of int8_loops.inc.
std::int32_t multiply_add_int16(std::int64_t rounds) {
  Ints sums[12];
#pragma GCC unroll 12
  for (int idx = 0; idx < 12; ++idx) sums[idx] = Ints{} + idx;
  const Ints w = Ints{} + 0x00010001;
  Ints x = w;
  for (std::int64_t round = 0; round < rounds; ++round) {
    asm volatile("" : "+m"(x));
#pragma GCC unroll 12
    for (int idx = 0; idx < 12; ++idx) sums[idx] = add_products<PanelForm::int16>(sums[idx], w, x);
  }
  Ints all = sums[0];
#pragma GCC unroll 12
  for (int idx = 1; idx < 12; ++idx) all += sums[idx];
  return all[0];
}

}  // namespace

const TileKernels kPanelKernels = {.int8_of_b8 = integers_of_stored<PanelForm::int8, 7>,
                                   .int8_of_b4 = integers_of_stored<PanelForm::int8, 3>,
                                   .int16_of_b8 = integers_of_stored<PanelForm::int16, 7>,
                                   .int16_of_b4 = integers_of_stored<PanelForm::int16, 3>,
                                   .int8_flip = 0x80,
                                   .quantise = quantise,
                                   .quantise_int16 = quantise_int16,
                                   .pack = pack,
                                   .multiply_int8 = multiply_integers<PanelForm::int8>,
                                   .multiply_int16 = multiply_integers<PanelForm::int16>,
                                   .transpose_sums = transpose_sums,
                                   .multiply_add_int16 = multiply_add_int16};

}  // namespace meshseek::cpu::avx512_vnni

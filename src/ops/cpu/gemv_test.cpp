#include "ops/cpu/gemv.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tensor/block_float.hpp"

namespace meshseek::cpu {
namespace {

constexpr std::int64_t kExponentBytes = 64;

/// Tiles of random codes, and activations for them. Some blocks are all zero with exponent 0, as padding is.
struct Problem {
  Problem(DataType type, std::int64_t tiles, std::int64_t rows_of_x, unsigned seed) : dtype(type), num_tiles(tiles), num_x(rows_of_x) {
    std::mt19937 random(seed);
    bytes.resize(static_cast<std::size_t>(num_tiles * tile_bytes(dtype)));
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    const std::int64_t block_bytes = dtype == DataType::bfloat8_b ? 16 : 8;
    for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
      std::uint8_t* start = bytes.data() + tile * tile_bytes(dtype);
      for (std::int64_t block = 0; block < kExponentBytes; ++block) {
        const bool is_zero = random() % 16 == 0;
        start[block] = static_cast<std::uint8_t>(is_zero ? 0 : 110 + random() % 30);
        if (is_zero) std::fill_n(start + kExponentBytes + block * block_bytes, block_bytes, std::uint8_t{0});
      }
    }
    std::normal_distribution<float> normal;
    stride = 32 * std::max<std::int64_t>(num_tiles, 1) + 32;
    for (std::int64_t idx = 0; idx < num_x * stride; ++idx) {
      x.push_back(normal(random));
      codes.push_back(static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127));
    }
    for (std::int64_t idx = 0; idx < num_x * stride / 16; ++idx) scales.push_back(std::abs(normal(random)));
  }

  TileRun run(float* out, std::int64_t out_stride) const {
    return {.tiles = bytes.data(),
            .num_tiles = num_tiles,
            .num_x = num_x,
            .x_stride = stride,
            .codes = codes.data(),
            .scales = scales.data(),
            .x = x.data(),
            .out = out,
            .out_stride = out_stride};
  }

  const std::uint8_t* tile(std::int64_t idx) const { return bytes.data() + idx * tile_bytes(dtype); }
  std::uint8_t* tile(std::int64_t idx) { return bytes.data() + idx * tile_bytes(dtype); }

  /// 32 values of one row of a tile.
  std::vector<float> row(std::int64_t tile_idx, std::int64_t row) const {
    std::vector<float> values(32);
    decode_tile_row(reinterpret_cast<const std::byte*>(tile(tile_idx)), dtype, row, values.data());
    return values;
  }

  /// What magnitude 1 stands for in the left or right half of a row.
  float scale(std::int64_t tile_idx, std::int64_t row, std::int64_t half) const {
    const int exponent = tile(tile_idx)[row / 16 * 32 + half * 16 + row % 16];
    const int bits = dtype == DataType::bfloat8_b ? 7 : 3;
    return exponent < bits ? 0.0F : std::ldexp(1.0F, exponent - 127 - (bits - 1));
  }

  DataType dtype;
  std::int64_t num_tiles;
  std::int64_t num_x;
  std::int64_t stride = 0;
  std::vector<std::uint8_t> bytes = {};
  std::vector<float> x = {};
  std::vector<std::int8_t> codes = {};
  std::vector<float> scales = {};
};

/// For each block of 16 an exact sum, scaled and added in the order of k with one rounding each.
float slow_int8(const Problem& p, std::int64_t t, std::int64_t row) {
  float sum = 0.0F;
  for (std::int64_t block = 0; block < 2 * p.num_tiles; ++block) {
    const float scale = p.scale(block / 2, row, block % 2);
    const std::vector<float> w = p.row(block / 2, row);
    std::int32_t exact = 0;
    for (std::int64_t idx = 0; idx < 16 && scale > 0.0F; ++idx) {
      const auto magnitude = static_cast<std::int32_t>(w[static_cast<std::size_t>(block % 2 * 16 + idx)] / scale);
      exact += magnitude * p.codes[static_cast<std::size_t>(t * p.stride + block * 16 + idx)];
    }
    sum = std::fma(static_cast<float>(exact), p.scales[static_cast<std::size_t>(t * (p.stride / 16) + block)] * scale, sum);
  }
  return sum;
}

/// Sixteen partial sums, added up in the order of sum16() in loops.inc.
float slow_dot(const Problem& p, std::int64_t t, std::int64_t row) {
  std::vector<float> lanes(16, 0.0F);
  for (std::int64_t tile = 0; tile < p.num_tiles; ++tile) {
    const std::vector<float> w = p.row(tile, row);
    for (std::size_t idx = 0; idx < 32; ++idx)
      lanes[idx % 16] = std::fma(p.x[static_cast<std::size_t>(t * p.stride + tile * 32) + idx], w[idx], lanes[idx % 16]);
  }
  std::vector<float> quad(4);
  for (std::size_t idx = 0; idx < 4; ++idx) quad[idx] = (lanes[idx] + lanes[8 + idx]) + (lanes[4 + idx] + lanes[12 + idx]);
  return (quad[0] + quad[2]) + (quad[1] + quad[3]);
}

struct Case {
  const char* isa;
  DataType dtype;
  std::int64_t num_x;
};

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const char* isa : {"avx2", "avx512", "avx512_vnni"}) {
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      for (std::int64_t num_x = 1; num_x <= kMaxStreamRows; ++num_x) result.push_back({isa, dtype, num_x});
    }
  }
  return result;
}

/// `slow` for every row of x and output; the kernel must give the same bits and write nothing else.
template <class Kernel, class Slow>
void expect_bits(const Case& c, Kernel kernel, Slow slow) {
  for (const std::int64_t num_tiles : {1, 2, 3, 7, 64, 131}) {
    SCOPED_TRACE(testing::Message() << c.isa << " " << to_string(c.dtype) << " x " << c.num_x << " tiles " << num_tiles);
    const Problem p(c.dtype, num_tiles, c.num_x, static_cast<unsigned>(num_tiles));
    constexpr std::int64_t kStride = 40;
    std::vector<float> out(static_cast<std::size_t>(c.num_x * kStride), -7.0F);
    ASSERT_TRUE(kernel(p.run(out.data(), kStride)));
    for (std::int64_t idx = 0; idx < c.num_x * kStride; ++idx) {
      const std::int64_t t = idx / kStride, row = idx % kStride;
      ASSERT_EQ(out[static_cast<std::size_t>(idx)], row < 32 ? slow(p, t, row) : -7.0F) << "x " << t << " row " << row;
    }
  }
}

TEST(Gemv, Int8DotsHaveTheBitsOfTheSlowSum) {
  for (const Case& c : cases()) {
    const StreamKernels* table = find_stream_kernels(c.isa);
    if (table != nullptr) expect_bits(c, c.dtype == DataType::bfloat8_b ? table->dot_int8_b8 : table->dot_int8_b4, slow_int8);
  }
}

TEST(Gemv, FloatDotsHaveTheBitsOfTheSlowSum) {
  for (const Case& c : cases()) {
    const StreamKernels* table = find_stream_kernels(c.isa);
    if (table != nullptr) expect_bits(c, c.dtype == DataType::bfloat8_b ? table->dot_b8 : table->dot_b4, slow_dot);
  }
}

TEST(Gemv, RowsAreAddedInTheirOrder) {
  for (const Case& c : cases()) {
    const StreamKernels* table = find_stream_kernels(c.isa);
    if (table == nullptr) continue;
    const Problem p(c.dtype, 3, c.num_x, 5);
    constexpr std::int64_t kStride = 100;
    std::vector<float> out(static_cast<std::size_t>(c.num_x * kStride), 0.5F);
    ASSERT_TRUE((c.dtype == DataType::bfloat8_b ? table->add_rows_b8 : table->add_rows_b4)(p.run(out.data(), kStride)));
    for (std::int64_t idx = 0; idx < c.num_x * kStride; ++idx) {
      const std::int64_t t = idx / kStride, col = idx % kStride;
      float sum = 0.5F;
      for (std::int64_t row = 0; row < 32 && col < 96; ++row)
        sum = std::fma(p.x[static_cast<std::size_t>(t * p.stride + row)], p.row(col / 32, row)[static_cast<std::size_t>(col % 32)], sum);
      ASSERT_EQ(out[static_cast<std::size_t>(idx)], sum) << c.isa << " x " << t << " column " << col;
    }
  }
}

/// Infinities, NaN and values below the normal numbers are left to the slow path, wherever they stand.
TEST(Gemv, UnusualExponentsAreRefused) {
  for (const Case& c : cases()) {
    const StreamKernels* table = find_stream_kernels(c.isa);
    if (table == nullptr) continue;
    const bool eight = c.dtype == DataType::bfloat8_b;
    for (const std::int64_t block : {0, 17, 40, 63}) {
      std::vector<float> out(static_cast<std::size_t>(c.num_x * 160));
      Problem p(c.dtype, 5, c.num_x, 9);
      p.tile(4)[block] = 255;
      EXPECT_FALSE((eight ? table->dot_int8_b8 : table->dot_int8_b4)(p.run(out.data(), 32)));
      EXPECT_FALSE((eight ? table->dot_b8 : table->dot_b4)(p.run(out.data(), 32)));
      EXPECT_FALSE((eight ? table->add_rows_b8 : table->add_rows_b4)(p.run(out.data(), 160)));
      p.tile(4)[block] = 2;
      p.tile(4)[kExponentBytes + block * (eight ? 16 : 8)] = 0x11;
      EXPECT_TRUE((eight ? table->dot_int8_b8 : table->dot_int8_b4)(p.run(out.data(), 32))) << "int8: such blocks count as zero";
      EXPECT_FALSE((eight ? table->dot_b8 : table->dot_b4)(p.run(out.data(), 32)));
      EXPECT_FALSE((eight ? table->add_rows_b8 : table->add_rows_b4)(p.run(out.data(), 160)));
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu

// The products of tiles. Emulated instructions everywhere; the real ones too where the machine has AMX (AmxProducts.*Real).
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "ops/cpu/amx/amx.hpp"
#include "tensor/block_float.hpp"

namespace meshseek::cpu::amx {
namespace {

#include "ops/cpu/amx/emulated_tiles.inc"
#include "ops/cpu/amx/products.inc"

constexpr double kEpsilon = 0x1p-24;

Kernels emulated_products() {
  Kernels table;
  table.isa = "amx, emulated";
  table.dot_block_int8 = dot_block_int8;
  table.pack_bf16 = pack_bf16;
  table.dot_block_bf16 = dot_block_bf16;
  return table;
}

// ---------------------------------------------------------------- what the instructions do

TEST(EmulatedTiles, RefusesWhatTheProcessorRefuses) {
  EXPECT_THROW(zero_tile<0>(), std::logic_error) << "not configured";
  TileConfig config;
  set_shape(config, 0, 17, 64);
  EXPECT_THROW(load_config(config), std::logic_error);
  set_shape(config, 0, 16, 64);
  set_shape(config, 4, 16, 16);
  set_shape(config, 6, 8, 64);
  {
    const TileSession session(config);
    EXPECT_THROW(zero_tile<1>(), std::logic_error) << "a tile of no rows";
    EXPECT_THROW((add_int8_products<0, 4, 6>()), std::logic_error) << "16 bytes meet 8 lines";
    zero_tile<0>();
  }
  EXPECT_THROW(zero_tile<0>(), std::logic_error) << "released";
}

/// One product of 1 row of 4 bytes with 1 line of 1 output.
std::uint32_t product_of(bool bf16, std::uint32_t c, std::uint32_t a, std::uint32_t b) {
  TileConfig config;
  for (const int tile : {0, 4, 6}) set_shape(config, tile, 1, 4);
  const TileSession session(config);
  load_tile<0>(&c, 64);
  load_tile<4>(&a, 64);
  load_tile<6>(&b, 64);
  if (bf16)
    add_bf16_products<0, 4, 6>();
  else
    add_int8_products<0, 4, 6>();
  store_tile<0>(&c, 64);
  return c;
}

TEST(EmulatedTiles, Int8ProductsAreSigned) {
  EXPECT_EQ(product_of(false, 5, 0x017F80FF, 0x02818003), static_cast<std::uint32_t>(5 + 1 * 2 + 127 * -127 + -128 * -128 + -1 * 3));
}

TEST(EmulatedTiles, Bf16ProductsFlushDenormalsAndRoundToEven) {
  const auto bits = [](float value) { return std::bit_cast<std::uint32_t>(value); };
  const auto pair = [](float low, float high) { return std::uint32_t{to_bf16(low).bits} | std::uint32_t{to_bf16(high).bits} << 16; };
  EXPECT_EQ(product_of(true, bits(1.0F), pair(2.0F, 3.0F), pair(5.0F, -7.0F)), bits(1.0F + 10.0F - 21.0F));
  EXPECT_EQ(product_of(true, 0, pair(0x1p-130F, 0.0F), pair(0x1p100F, 0.0F)), bits(0.0F)) << "a denormal operand";
  EXPECT_EQ(product_of(true, 0, pair(0x1p-100F, 0.0F), pair(-0x1p-30F, 0.0F)), bits(0.0F)) << "a denormal product";
  EXPECT_EQ(product_of(true, 1, pair(0.0F, 0.0F), pair(0.0F, 0.0F)), bits(0.0F)) << "a denormal sum";
  EXPECT_EQ(product_of(true, bits(1.0F), pair(0x1p-24F, 0.0F), pair(1.0F, 0.0F)), bits(1.0F)) << "a tie";
  EXPECT_EQ(product_of(true, bits(1.0F), pair(0x1p-24F, 0x1p-24F), pair(1.0F, 1.0F)), bits(1.0F + 0x1p-23F)) << "products are added first";
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(product_of(true, 0, pair(INFINITY, INFINITY), pair(1.0F, -1.0F)))));
}

// ---------------------------------------------------------------- dot_block_bf16

struct Bf16Problem {
  std::int64_t num_x, num_w, k;
  std::vector<float> x, w;

  Bf16Problem(std::int64_t rows, std::int64_t outputs, std::int64_t used_k, unsigned seed)
      : num_x(rows),
        num_w(outputs),
        k((used_k + 31) / 32 * 32),
        x(static_cast<std::size_t>(rows * k)),
        w(static_cast<std::size_t>(outputs * k)) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (std::vector<float>* values : {&x, &w}) {
      for (std::size_t idx = 0; idx < values->size(); ++idx)
        if (static_cast<std::int64_t>(idx) % k < used_k) (*values)[idx] = round_to_bf16(normal(generator));
    }
  }

  std::int64_t num_groups() const { return (num_w + 15) / 16; }
  std::int64_t stride() const { return num_groups() * 16 + 5; }

  /// [num_x][stride()]; -7 where nothing was written.
  std::vector<float> product(const Kernels& table) const {
    std::vector<std::uint16_t> halves, packed(static_cast<std::size_t>(num_groups() * 16 * k) + 1, 77);
    for (const float value : x) halves.push_back(to_bf16(value).bits);
    table.pack_bf16({.w = w.data(), .w_stride = k, .num_w = num_w, .k = k}, packed.data());
    EXPECT_EQ(packed.back(), 77) << "written beyond the packed block";
    std::vector<float> out(static_cast<std::size_t>(num_x * stride()), -7.0F);
    table.dot_block_bf16({halves.data(), k, num_x, packed.data(), num_groups(), k, out.data(), stride()});
    return out;
  }

  void expect_exact_within_bound(const Kernels& table) const {
    const std::vector<float> out = product(table);
    for (std::int64_t idx = 0; idx < num_x * stride(); ++idx) {
      const std::int64_t t = idx / stride(), r = idx % stride();
      const float actual = out[static_cast<std::size_t>(idx)];
      if (r >= num_w) {
        ASSERT_EQ(actual, r < num_groups() * 16 ? 0.0F : -7.0F) << "beyond the outputs";
        continue;
      }
      double sum = 0.0, size = 0.0, denormal = static_cast<double>(k);
      for (std::int64_t i = 0; i < k; ++i) {
        const double x_value = x[static_cast<std::size_t>(t * k + i)], w_value = w[static_cast<std::size_t>(r * k + i)];
        sum += x_value * w_value;
        size += std::abs(x_value * w_value);
        denormal += std::abs(x_value) + std::abs(w_value);
      }
      const double bound = (16.0 + static_cast<double>(k) / 32.0) * kEpsilon * size + 0x1p-126 * denormal;
      ASSERT_NEAR(actual, sum, bound) << table.isa << " rows " << num_x << " outputs " << num_w << " k " << k << " at " << t << ", " << r;
    }
  }
};

void expect_all_sizes(const Kernels& table) {
  unsigned seed = 1;
  for (const std::int64_t rows : {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 70}) {
    Bf16Problem(rows, 33, 80, ++seed).expect_exact_within_bound(table);
    Bf16Problem(rows, 16, 17, ++seed).expect_exact_within_bound(table);
  }
  for (std::int64_t outputs = 1; outputs <= 70; ++outputs) Bf16Problem(19, outputs, 48, ++seed).expect_exact_within_bound(table);
  for (const std::int64_t k : {16, 31, 32, 33, 500, 512, 513, 544, 1024, 1100, 2048, 2100})
    Bf16Problem(37, 35, k, ++seed).expect_exact_within_bound(table);
}

void expect_same_bits_alone(const Kernels& table) {
  const Bf16Problem whole(70, 50, 600, 9);
  const std::vector<float> all = whole.product(table);
  for (const std::int64_t t : {0, 15, 16, 33, 63, 69}) {
    Bf16Problem alone = whole;
    alone.num_x = 1;
    alone.x.assign(whole.x.begin() + t * whole.k, whole.x.begin() + (t + 1) * whole.k);
    const std::vector<float> line = alone.product(table);
    for (std::size_t r = 0; r < 50; ++r) ASSERT_EQ(line[r], all[static_cast<std::size_t>(t * whole.stride()) + r]) << table.isa;
  }
}

void expect_denormals_count_as_zero(const Kernels& table) {
  Bf16Problem problem(18, 20, 64, 10);
  for (std::size_t idx = 0; idx < problem.x.size(); idx += 3) problem.x[idx] = 0x1p-128F;
  for (std::size_t idx = 0; idx < problem.w.size(); idx += 5) problem.w[idx] = -0x1.8p-127F;
  Bf16Problem without = problem;
  for (std::size_t idx = 0; idx < problem.x.size(); idx += 3) without.x[idx] = 0.0F;
  for (std::size_t idx = 0; idx < problem.w.size(); idx += 5) without.w[idx] = 0.0F;
  EXPECT_EQ(problem.product(table), without.product(table)) << table.isa;
  problem.expect_exact_within_bound(table);
  for (float& value : problem.x) value = round_to_bf16(value * 0x1p-70F);  // products around 2^-126
  for (float& value : problem.w) value = round_to_bf16(value * 0x1p-56F);
  problem.expect_exact_within_bound(table);
}

// ---------------------------------------------------------------- dot_block_int8

/// The bits of the scalar table. Scales are powers of two: products with them are exact, so that a fused addition rounds as its own does.
void expect_int8_bits(const Kernels& table) {
  const Kernels& scalar = *find_kernels("scalar");
  std::mt19937 generator(11);
  for (const std::int64_t num_blocks : {0, 1, 2, 5, 32, 35, 70}) {
    for (const std::int64_t num_x : {1, 3, 15, 16, 17, 33, 48}) {
      constexpr std::int64_t kGroups = 3, kStride = kGroups * 16 + 3;
      const std::int64_t x_blocks = num_blocks + 1;  // rows of x are longer than the block
      std::vector<std::int8_t> x(static_cast<std::size_t>(num_x * x_blocks * 16));
      std::vector<std::uint8_t> w(static_cast<std::size_t>(kGroups * num_blocks * 256) + 1);
      std::vector<float> x_scale(static_cast<std::size_t>(num_x * x_blocks)), w_scale(w.size() / 16 + 1);
      const std::vector<std::int32_t> correction(x_scale.size());
      for (std::int8_t& code : x) code = static_cast<std::int8_t>(static_cast<int>(generator() % 255) - 127);
      for (std::uint8_t& code : w) code = static_cast<std::uint8_t>(static_cast<int>(generator() % 255) - 127);
      for (float& scale : x_scale) scale = std::ldexp(1.0F, static_cast<int>(generator() % 20));
      for (float& scale : w_scale) scale = std::ldexp(-1.0F, static_cast<int>(generator() % 20));
      std::vector<float> expected(static_cast<std::size_t>(num_x * kStride), -7.0F), actual = expected;
      Int8Block block = {x.data(),       x_scale.data(), correction.data(), x_blocks * 16,   num_x,  w.data(),
                         w_scale.data(), kGroups,        num_blocks,        expected.data(), kStride};
      scalar.dot_block_int8(block);
      block.out = actual.data();
      table.dot_block_int8(block);
      ASSERT_EQ(actual, expected) << table.isa << " blocks " << num_blocks << " rows " << num_x;
    }
  }
}

void expect_all(const Kernels& table) {
  expect_all_sizes(table);
  expect_same_bits_alone(table);
  expect_denormals_count_as_zero(table);
  expect_int8_bits(table);
}

/// Emulated tiles, and those of this machine where MESHSEEK_FORCE_ISA=amx asks for them and it has them.
std::vector<Kernels> all_products() {
  std::vector<Kernels> tables = {emulated_products()};
  if (const Kernels* table = find_kernels("amx")) tables.push_back(*table);
  return tables;
}

TEST(AmxProducts, AreRightOverAllSizes) {
  for (const Kernels& table : all_products()) expect_all(table);
}

/// The order of sums that Intel documents is the order of the processor: the emulation is as good as the instruction.
TEST(AmxProducts, HaveTheBitsOfTheEmulation) {
  for (const Kernels& table : all_products()) {
    for (const std::int64_t k : {32, 512, 1100}) {
      const Bf16Problem problem(37, 35, k, 12);
      EXPECT_EQ(problem.product(table), problem.product(emulated_products())) << k;
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu::amx

// Products on tiles: with emulated instructions everywhere, with the real ones where the machine has AMX, of panels where it has AVX-512 and VNNI.
#include <gtest/gtest.h>
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/amx_permission.hpp"
#include "ops/cpu/amx/amx.hpp"
#include "ops/cpu/amx/test_tiles.hpp"
#include "ops/cpu/kernels_tables.hpp"
#include "ops/cpu/lanes.hpp"
#include "tensor/block_float.hpp"

namespace meshseek::cpu::amx {
namespace {

constexpr int kVectorBytes = 64;

// Each needs those before it.
// clang-format off
#include "ops/cpu/panels/vector_types.inc"
#include "ops/cpu/amx/emulated_tiles.inc"
#include "ops/cpu/block_codes.inc"
#include "ops/cpu/panels/vectors.inc"
#include "ops/cpu/panels/stored_integers.inc"
#include "ops/cpu/panels/rows.inc"
#include "ops/cpu/amx/stored_bf16.inc"
#include "ops/cpu/amx/products.inc"
#include "ops/cpu/amx/attention.inc"
// clang-format on

constexpr double kEpsilon = 0x1p-24;

/// Tables whose products can run here.
std::vector<const TileKernels*> multipliers() {
  std::vector<const TileKernels*> tables = {&kTileKernels};
  if (amx_is_permitted()) tables.push_back(&tile_kernels());
  return tables;
}
std::vector<const TileKernels*> int8_multipliers() {
  std::vector<const TileKernels*> tables = multipliers();
  for (const TileKernels* table : integer_panels()) {
    if (table->multiply_int8 != nullptr) tables.push_back(table);
  }
  return tables;
}

/// Operands in tiles, made by the emulated table, and what they stand for.
struct Operands {
  std::int64_t num_rows = 0, num_pairs = 0, k = 0;
  std::vector<float> x = {}, w = {};      ///< [num_rows][k], [32 * num_pairs][k]: as they are multiplied
  std::vector<std::uint8_t> x_rows = {};  ///< as they lie before they are packed
  std::vector<std::uint8_t> x_tiles = {}, w_tiles = {};
  std::vector<float> x_scales = {}, w_scales = {};

  std::int64_t num_chunks() const { return (k + kTileChunk - 1) / kTileChunk; }
  std::int64_t num_x_tiles() const { return num_rows > 16 ? 2 : 1; }

  /// \param steps bytes of a value: 2 for bf16, 1 for int8
  void place(std::int64_t value_bytes, const std::vector<std::uint8_t>& x_bytes, const std::vector<std::uint8_t>& w_bytes) {
    const std::int64_t row_bytes = k * value_bytes, num_steps = row_bytes / 64;
    x_rows = x_bytes;
    x_tiles.resize(static_cast<std::size_t>(num_steps * num_x_tiles() * 1024));
    pack({.rows = x_bytes.data(), .row_bytes = row_bytes, .num_rows = num_rows, .num_steps = num_steps, .out = x_tiles.data()});
    for (std::int64_t pair = 0; pair < num_pairs; ++pair) {
      for (std::int64_t idx = 0; idx < num_steps * 2048; ++idx) {
        const std::int64_t row = pair * 32 + idx / 64 % 32, byte = idx / 2048 * 64 + idx % 64;
        w_tiles.push_back(w_bytes[static_cast<std::size_t>(row * row_bytes + byte)]);
      }
    }
  }
  TileProduct product(std::vector<float>& sums, std::int64_t num_steps) const {
    return {.x = x_tiles.data(),
            .x_scales = x_scales.data(),
            .num_x_tiles = num_x_tiles(),
            .w = w_tiles.data(),
            .w_scales = w_scales.data(),
            .num_pairs = num_pairs,
            .num_steps = num_steps,
            .sums = sums.data()};
  }
};

std::vector<std::uint8_t> halves_of(const std::vector<float>& values) {
  std::vector<std::uint8_t> bytes;
  for (const float value : values) {
    const std::uint16_t bits = to_bf16(value).bits;
    bytes.push_back(static_cast<std::uint8_t>(bits));
    bytes.push_back(static_cast<std::uint8_t>(bits >> 8));
  }
  return bytes;
}

Operands bf16_operands(std::int64_t num_rows, std::int64_t num_pairs, std::int64_t k, unsigned seed, float scale = 1.0F) {
  Operands operands = {.num_rows = num_rows,
                       .num_pairs = num_pairs,
                       .k = k,
                       .x = random_floats(num_rows * k, seed),
                       .w = random_floats(32 * num_pairs * k, seed + 1)};
  for (float& value : operands.x) value = round_to_bf16(value * scale);
  for (float& value : operands.w) value = round_to_bf16(value);
  operands.place(2, halves_of(operands.x), halves_of(operands.w));
  return operands;
}

Operands int8_operands(std::int64_t num_rows, std::int64_t num_pairs, std::int64_t k, unsigned seed) {
  Operands operands = {.num_rows = num_rows, .num_pairs = num_pairs, .k = k};
  std::mt19937 generator(seed);
  std::vector<std::uint8_t> codes[2];
  codes[0].resize(static_cast<std::size_t>(num_rows * k));
  codes[1].resize(static_cast<std::size_t>(32 * num_pairs * k));
  for (auto& bytes : codes)
    for (std::uint8_t& code : bytes) code = static_cast<std::uint8_t>(static_cast<int>(generator() % 255) - 127);
  operands.place(1, codes[0], codes[1]);
  const std::int64_t chunks = operands.num_chunks();
  operands.x_scales = random_floats(chunks * 32, seed + 1);
  for (std::int64_t idx = 0; idx < chunks * 32 * num_pairs; ++idx)
    operands.w_scales.push_back(std::ldexp(1.0F, static_cast<int>(generator() % 9) - 4));
  for (std::int64_t idx = 0; idx < num_rows * k; ++idx)
    operands.x.push_back(static_cast<std::int8_t>(codes[0][static_cast<std::size_t>(idx)]) *
                         operands.x_scales[static_cast<std::size_t>(idx % k / kTileChunk * 32 + idx / k)]);
  for (std::int64_t idx = 0; idx < 32 * num_pairs * k; ++idx)
    operands.w.push_back(static_cast<std::int8_t>(codes[1][static_cast<std::size_t>(idx)]) *
                         operands.w_scales[static_cast<std::size_t>((idx / k / 32 * chunks + idx % k / kTileChunk) * 32 + idx / k % 32)]);
  return operands;
}

/// Calls visit(sum, exact, sum of |x w|, 2^-126 times what may be flushed) for each result; checks what lies beside them.
void visit_sums(const Operands& o, const std::vector<float>& sums, auto&& visit) {
  for (std::int64_t idx = 0; idx < 32 * o.num_pairs * 32; ++idx) {
    const std::int64_t row = idx % 32, output = idx / 32;
    if (row >= o.num_rows) {
      ASSERT_EQ(sums[static_cast<std::size_t>(idx)], row < 16 * o.num_x_tiles() ? 0.0F : -7.0F);
      continue;
    }
    double exact = 0.0, size = 0.0, tiny = static_cast<double>(o.k);
    for (std::int64_t k = 0; k < o.k; ++k) {
      const double x = o.x[static_cast<std::size_t>(row * o.k + k)], w = o.w[static_cast<std::size_t>(output * o.k + k)];
      exact += x * w;
      size += std::abs(x * w);
      tiny += std::abs(x) + std::abs(w);
    }
    visit(double{sums[static_cast<std::size_t>(idx)]}, exact, size, tiny * 0x1p-126);
  }
}

void expect_bf16_bound(const TileKernels& table, const Operands& operands) {
  std::vector<float> sums(static_cast<std::size_t>(operands.num_pairs * 1024), -7.0F);
  table.multiply_bf16(operands.product(sums, operands.k / 32));
  visit_sums(operands, sums, [&](double sum, double exact, double size, double tiny) {
    ASSERT_NEAR(sum, exact, tile_roundings(operands.k) * kEpsilon * size + tiny) << operands.num_rows << " rows, k " << operands.k;
  });
}

TEST(AmxProducts, Bf16SumsAreWithinTheirBoundOverAllSizes) {
  unsigned seed = 10;
  for (const TileKernels* table : multipliers()) {
    for (std::int64_t rows = 1; rows <= 32; ++rows) expect_bf16_bound(*table, bf16_operands(rows, 1, 64, ++seed));
    for (const std::int64_t pairs : {2, 3}) expect_bf16_bound(*table, bf16_operands(19, pairs, 96, ++seed));
    for (const std::int64_t k : {32, 480, 512, 544, 1024, 1568}) expect_bf16_bound(*table, bf16_operands(17, 2, k, ++seed));
    expect_bf16_bound(*table, bf16_operands(17, 1, 64, ++seed, 0x1p-126F));  // values below 2^-126 among them
  }
}

TEST(AmxProducts, TheBoundOfBf16NoticesOneMissingProduct) {
  const Operands operands = bf16_operands(3, 1, 512, 20);
  std::vector<float> sums(1024, -7.0F);
  multiply_bf16(operands.product(sums, operands.k / 32));
  std::int64_t num_noticed = 0, num_sums = 0;
  visit_sums(operands, sums, [&](double sum, double exact, double size, double tiny) {
    const double missing = sum - size / static_cast<double>(operands.k);
    num_noticed += std::abs(missing - exact) > tile_roundings(operands.k) * kEpsilon * size + tiny ? 1 : 0;
    ++num_sums;
  });
  EXPECT_EQ(num_noticed, num_sums);
}

void expect_int8_bound(const TileKernels& table, const Operands& operands) {
  std::vector<float> sums(static_cast<std::size_t>(operands.num_pairs * 1024), -7.0F);
  Operands given = operands;
  given.w_tiles = flipped(std::move(given.w_tiles), table);
  table.multiply_int8(given.product(sums, operands.k / 64));
  visit_sums(operands, sums, [&](double sum, double exact, double size, double) {
    ASSERT_NEAR(sum, exact, static_cast<double>(2 + operands.num_chunks()) * kEpsilon * size)
        << operands.num_rows << " rows, k " << operands.k;
  });
}

TEST(AmxProducts, Int8SumsAreWithinTheirBoundOverAllSizes) {
  unsigned seed = 30;
  for (const TileKernels* table : int8_multipliers()) {
    for (std::int64_t rows = 1; rows <= 32; ++rows) expect_int8_bound(*table, int8_operands(rows, 1, 64, ++seed));
    for (const std::int64_t pairs : {2, 3}) expect_int8_bound(*table, int8_operands(19, pairs, 192, ++seed));
    for (const std::int64_t k : {64, 448, 512, 576, 1024, 1600}) expect_int8_bound(*table, int8_operands(17, 2, k, ++seed));
  }
}

/// Sums of int16 panels, the order of float32 included. \param codes [num_rows][k], [32 * num_pairs][k], the even ones of 64 before the odd ones
std::vector<float> int16_sums(const Operands& o, const std::vector<std::int16_t>& x, const std::vector<std::int16_t>& w) {
  std::vector<float> sums(static_cast<std::size_t>(o.num_pairs * 1024), -7.0F);
  const std::int64_t chunks = (o.k + kInt16Chunk - 1) / kInt16Chunk;
  for (std::int64_t idx = 0; idx < o.num_pairs * 1024; ++idx) {
    const std::int64_t row = idx % 32, output = idx / 32;
    float& sum = sums[static_cast<std::size_t>(idx)];
    if (row >= 16 * o.num_x_tiles()) continue;
    sum = 0.0F;
    for (std::int64_t chunk = 0; row < o.num_rows && chunk < chunks; ++chunk) {
      std::int32_t exact = 0;
      for (std::int64_t k = chunk * kInt16Chunk; k < std::min(o.k, (chunk + 1) * kInt16Chunk); ++k)
        exact += x[static_cast<std::size_t>(row * o.k + k)] * w[static_cast<std::size_t>(output * o.k + k)];
      const float x_scale = o.x_scales[static_cast<std::size_t>(chunk * 32 + row)];
      sum = std::fma(static_cast<float>(exact) * x_scale,
                     o.w_scales[static_cast<std::size_t>((output / 32 * chunks + chunk) * 32 + output % 32)], sum);
    }
  }
  return sums;
}

/// Codes of x and w, and operands that are made of them.
struct Int16Operands {
  std::vector<std::int16_t> x = {}, w = {};
  Operands operands = {};
};

/// \param extreme the largest magnitudes alone
Int16Operands int16_operands(std::int64_t num_rows, std::int64_t num_pairs, std::int64_t k, bool extreme) {
  std::mt19937 generator(static_cast<unsigned>(num_rows + k));
  const auto codes_of = [&](std::int64_t count, int most) {
    std::vector<std::int16_t> codes(static_cast<std::size_t>(count));
    for (std::int16_t& code : codes)
      code = static_cast<std::int16_t>(extreme ? most : static_cast<int>(generator() % static_cast<unsigned>(2 * most + 1)) - most);
    return codes;
  };
  const auto bytes_of = [](const std::vector<std::int16_t>& codes) {
    std::vector<std::uint8_t> bytes(codes.size() * 2);
    std::memcpy(bytes.data(), codes.data(), bytes.size());
    return bytes;
  };
  Int16Operands made = {.x = codes_of(num_rows * k, kMostInt16),
                        .w = codes_of(32 * num_pairs * k, 127 * 16),
                        .operands = {.num_rows = num_rows, .num_pairs = num_pairs, .k = k}};
  Operands& operands = made.operands;
  operands.place(2, bytes_of(made.x), bytes_of(made.w));
  const std::int64_t chunks = (k + kInt16Chunk - 1) / kInt16Chunk;
  operands.x_scales = random_floats(chunks * 32, 71);
  for (std::int64_t idx = 0; idx < chunks * 32 * num_pairs; ++idx)
    operands.w_scales.push_back(std::ldexp(1.0F, static_cast<int>(generator() % 9) - 4));
  return made;
}

void expect_int16_bits(const TileKernels& table, std::int64_t num_rows, std::int64_t num_pairs, std::int64_t k, bool extreme) {
  const Int16Operands made = int16_operands(num_rows, num_pairs, k, extreme);
  std::vector<float> sums(static_cast<std::size_t>(num_pairs * 1024), -7.0F);
  table.multiply_int16(made.operands.product(sums, k / 32));
  EXPECT_EQ(sums, int16_sums(made.operands, made.x, made.w)) << num_rows << " rows, k " << k;
}

TEST(PanelProducts, Int16SumsAreExactAndScaledInTheOrderOfK) {
  for (const TileKernels* table : integer_panels()) {
    for (std::int64_t rows = 1; rows <= 32; ++rows) expect_int16_bits(*table, rows, 1, 64, false);
    for (const std::int64_t pairs : {2, 3}) expect_int16_bits(*table, 19, pairs, 192, false);
    for (const std::int64_t k : {64, 128, 192, 512, 1600}) expect_int16_bits(*table, 17, 2, k, false);
    expect_int16_bits(*table, 3, 1, 256, true);  // as large as sums become
  }
}

/// Rows that lie one after the other against the same rows packed. \param bytes of a value
void expect_bits_of_packed(void (*multiply)(const TileProduct&), const Operands& operands, std::int64_t bytes, bool adds) {
  const std::int64_t num_steps = operands.k * bytes / 64;
  std::vector<float> packed(static_cast<std::size_t>(operands.num_pairs * 1024), -7.0F), rows = packed;
  TileProduct product = operands.product(packed, num_steps);
  product.adds = adds;
  multiply(product);
  product.x = operands.x_rows.data();
  product.num_rows = operands.num_rows;
  product.x_row_bytes = num_steps * 64;
  product.sums = rows.data();
  multiply(product);
  for (std::size_t idx = 0; idx < rows.size(); ++idx) {
    const bool is_there = static_cast<std::int64_t>(idx % 32) < operands.num_rows;
    ASSERT_EQ(rows[idx], is_there ? packed[idx] : -7.0F) << operands.num_rows << " rows, k " << operands.k << ", sum " << idx;
  }
}

TEST(PanelProducts, FewRowsHaveTheBitsOfPackedOnes) {
  for (const TileKernels* table : integer_panels()) {
    ASSERT_GT(table->few_rows, 0);
    for (std::int64_t rows = 1; rows <= table->few_rows; ++rows) {
      for (const std::int64_t k : {64, 192, 512, 1600, 4672}) {  // more chunks than are multiplied at once
        for (const bool adds : {false, true}) {
          expect_bits_of_packed(table->multiply_int16, int16_operands(rows, 2, k, false).operands, 2, adds);
          if (table->multiply_int8 == nullptr) continue;
          Operands int8 = int8_operands(rows, 2, k, static_cast<unsigned>(80 + rows));
          int8.w_tiles = flipped(std::move(int8.w_tiles), *table);
          expect_bits_of_packed(table->multiply_int8, int8, 1, adds);
        }
      }
    }
    expect_bits_of_packed(table->multiply_int16, int16_operands(3, 1, 256, true).operands, 2, false);
  }
}

TEST(AmxProducts, AddToWhatIsThere) {
  for (const TileKernels* table : multipliers()) {
    const Operands operands = bf16_operands(32, 1, 1024, 50);
    std::vector<float> whole(1024), parts(1024);
    TileProduct product = operands.product(whole, 32);
    table->multiply_bf16(product);
    product = operands.product(parts, 16);
    table->multiply_bf16(product);
    product.x = operands.x_tiles.data() + 16 * 2048;
    product.w = operands.w_tiles.data() + 16 * 2048;
    product.adds = true;
    table->multiply_bf16(product);
    EXPECT_EQ(parts, whole);
  }
}

/// The order of sums that Intel documents is the order of the processor: the emulation is as good as the instruction.
TEST(AmxProducts, HaveTheBitsOfTheEmulation) {
  for (const std::int64_t k : {64, 512, 1088}) {
    for (const std::int64_t num_rows : {13, 29}) {
      const Operands bf16 = bf16_operands(num_rows, 2, k, 60), int8 = int8_operands(num_rows, 2, k, 61);
      std::vector<float> expected(2048, -7.0F);
      kTileKernels.multiply_bf16(bf16.product(expected, k / 32));
      for (const TileKernels* table : multipliers()) {
        std::vector<float> actual(2048, -7.0F);
        table->multiply_bf16(bf16.product(actual, k / 32));
        EXPECT_EQ(actual, expected) << k;
      }
      expected.assign(2048, -7.0F);
      kTileKernels.multiply_int8(int8.product(expected, k / 64));
      for (const TileKernels* table : int8_multipliers()) {
        std::vector<float> actual(2048, -7.0F);
        Operands given = int8;
        given.w_tiles = flipped(std::move(given.w_tiles), *table);
        table->multiply_int8(given.product(actual, k / 64));
        EXPECT_EQ(actual, expected) << k;
      }
    }
  }
}

}  // namespace
}  // namespace meshseek::cpu::amx

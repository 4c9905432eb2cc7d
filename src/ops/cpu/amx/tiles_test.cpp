// Tiles and panels without a matrix unit: emulated instructions everywhere, the real ones where the machine has AMX, AVX-512 and VNNI, or AVX2; decoding and
// packing as compiled for AVX-512 where it has that.
#include <gtest/gtest.h>
#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include "base/amx_permission.hpp"
#include "ops/cpu/amx/amx.hpp"
#include "ops/cpu/amx/test_tiles.hpp"
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

/// Tables whose functions without products can run here.
std::vector<const TileKernels*> bf16_decoders() {
  std::vector<const TileKernels*> tables = {&kTileKernels};
  if (has_avx512()) tables.push_back(&tile_kernels());
  return tables;
}
std::vector<const TileKernels*> decoders() {
  std::vector<const TileKernels*> tables = bf16_decoders();
  for (const TileKernels* table : integer_panels()) tables.push_back(table);
  return tables;
}

std::vector<const TileKernels*> int8_decoders() {
  std::vector<const TileKernels*> tables = decoders();
  std::erase_if(tables, [](const TileKernels* table) { return table->quantise == nullptr; });
  return tables;
}

void set_shape(TileConfig& config, int tile, int rows, int row_bytes) {
  config.rows[tile] = static_cast<std::uint8_t>(rows);
  config.row_bytes[tile] = static_cast<std::uint16_t>(row_bytes);
}

/// The tiles of a shape while it lives.
class ShapedTiles {
 public:
  explicit ShapedTiles(const TileConfig& config) { load_config(config); }
  ~ShapedTiles() { release(); }
};

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
    const ShapedTiles session(config);
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
  const ShapedTiles session(config);
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

// ---------------------------------------------------------------- stored tiles

/// Rows of tiles with any codes. \param exponents_from, exponents_to of all blocks, inclusive
std::vector<std::uint8_t> random_tiles(std::int64_t num_tiles, DataType dtype, unsigned exponents_from, unsigned exponents_to,
                                       unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<std::uint8_t> tiles(static_cast<std::size_t>(num_tiles * tile_bytes(dtype)));
  for (std::size_t idx = 0; idx < tiles.size(); ++idx) {
    const bool is_exponent = static_cast<std::int64_t>(idx) % tile_bytes(dtype) < kExponentBytesPerTile;
    tiles[idx] = static_cast<std::uint8_t>(is_exponent ? exponents_from + generator() % (exponents_to - exponents_from + 1) : generator());
  }
  return tiles;
}

/// Values of a row of 32 outputs: [32][32 * num_tiles].
std::vector<float> decoded(const std::vector<std::uint8_t>& tiles, DataType dtype) {
  const std::int64_t num_tiles = static_cast<std::int64_t>(tiles.size()) / tile_bytes(dtype);
  std::vector<float> values(static_cast<std::size_t>(1024 * num_tiles));
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    const auto* bytes = reinterpret_cast<const std::byte*>(tiles.data()) + tile * tile_bytes(dtype);
    for (std::int64_t row = 0; row < 32; ++row) decode_tile_row(bytes, dtype, row, values.data() + row * num_tiles * 32 + tile * 32);
  }
  return values;
}

TEST(AmxStoredTiles, Bf16TilesAreTheDecodedValuesBitForBit) {
  constexpr std::int64_t kTiles = 40;
  for (const TileKernels* table : bf16_decoders()) {
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      const std::vector<std::uint8_t> tiles = random_tiles(kTiles, dtype, 0, 255, 1);
      const std::vector<float> values = decoded(tiles, dtype);
      std::vector<std::uint16_t> out(kTiles * 1024 + 1, 77);
      (dtype == DataType::bfloat8_b ? table->bf16_of_b8
                                    : table->bf16_of_b4)({.tiles = tiles.data(), .num_blocks = 2 * kTiles, .out = out.data()});
      for (std::int64_t row = 0; row < 32; ++row) {
        for (std::int64_t k = 0; k < kTiles * 32; ++k) {
          const std::uint32_t expected = std::bit_cast<std::uint32_t>(values[static_cast<std::size_t>(row * kTiles * 32 + k)]);
          ASSERT_EQ(out[static_cast<std::size_t>((k / 32 * 32 + row) * 32 + k % 32)], expected >> 16) << row << ", " << k;
        }
      }
      EXPECT_EQ(out.back(), 77);
    }
  }
}

/// What decodes tiles to integers of one form.
struct IntegerDecoder {
  PanelForm form;
  void (*of_b8)(const StoredTiles&);
  void (*of_b4)(const StoredTiles&);
  std::uint8_t flip = 0;

  int more_bits() const { return form == PanelForm::int16 ? 4 : 0; }
};

/// What the tables have.
std::vector<IntegerDecoder> integer_decoders() {
  std::vector<IntegerDecoder> all;
  for (const TileKernels* table : decoders()) {
    if (table->int8_of_b8 != nullptr) all.push_back({PanelForm::int8, table->int8_of_b8, table->int8_of_b4, table->int8_flip});
    if (table->int16_of_b8 != nullptr) all.push_back({PanelForm::int16, table->int16_of_b8, table->int16_of_b4});
  }
  return all;
}

/// What a decoder made of some tiles.
class IntegerTiles {
 public:
  IntegerTiles(const IntegerDecoder& decoder, const std::vector<std::uint8_t>& tiles, DataType dtype, std::int64_t num_blocks)
      : form_(decoder.form),
        bytes_(static_cast<std::size_t>(steps_of(form_, num_blocks * 16) * 2048) + 1, 77),
        scales_(static_cast<std::size_t>((num_blocks * 16 + scale_chunk(form_) - 1) / scale_chunk(form_) * 32) + 1, -7.0F) {
    (dtype == DataType::bfloat8_b ? decoder.of_b8 : decoder.of_b4)(
        {.tiles = tiles.data(), .num_blocks = num_blocks, .out = bytes_.data(), .scales = scales_.data()});
    EXPECT_EQ(bytes_.back(), 77);
    EXPECT_EQ(scales_.back(), -7.0F);
    bytes_.pop_back();
    for (std::uint8_t& byte : bytes_) byte = static_cast<std::uint8_t>(byte ^ decoder.flip);
  }

  float scale(std::int64_t row, std::int64_t k) const { return scales_[static_cast<std::size_t>(k / scale_chunk(form_) * 32 + row)]; }
  int code(std::int64_t row, std::int64_t k) const {
    if (form_ == PanelForm::int8) return static_cast<std::int8_t>(bytes_[static_cast<std::size_t>((k / 64 * 32 + row) * 64 + k % 64)]);
    std::int16_t code = 0;
    std::memcpy(&code, bytes_.data() + ((k / 64 * 2 + k % 2) * 32 + row) * 64 + k % 64 / 2 * 2, sizeof(code));
    return code;
  }
  const std::vector<std::uint8_t>& bytes() const { return bytes_; }
  const std::vector<float>& scales() const { return scales_; }

 private:
  PanelForm form_;
  std::vector<std::uint8_t> bytes_;
  std::vector<float> scales_;
};

/// The exponent of a block.
int exponent_of(const std::vector<std::uint8_t>& tiles, DataType dtype, std::int64_t row, std::int64_t block) {
  return tiles[static_cast<std::size_t>(block / 2 * tile_bytes(dtype) + (row / 16 * 2 + block % 2) * 16 + row % 16)];
}

void expect_half_steps(const IntegerDecoder& decoder, DataType dtype, std::int64_t num_blocks) {
  const std::int64_t num_tiles = (num_blocks + 1) / 2, chunk_blocks = scale_chunk(decoder.form) / 16;
  const std::vector<std::uint8_t> tiles = random_tiles(num_tiles, dtype, 118, 127, static_cast<unsigned>(num_blocks));
  const std::vector<float> values = decoded(tiles, dtype);
  const IntegerTiles made(decoder, tiles, dtype, num_blocks);
  for (std::int64_t row = 0; row < 32; ++row) {
    int top = 0;
    for (std::int64_t k = 0; k < num_blocks * 16; ++k) {
      if (k / 16 % chunk_blocks == 0 && k % 16 == 0) {
        top = 0;
        for (std::int64_t block = k / 16; block < std::min(num_blocks, k / 16 + chunk_blocks); ++block)
          top = std::max(top, exponent_of(tiles, dtype, row, block));
      }
      const float scale = made.scale(row, k), value = values[static_cast<std::size_t>(row * num_tiles * 32 + k)];
      ASSERT_EQ(scale, std::ldexp(1.0F, top - 133 - decoder.more_bits()));
      const bool is_exact = top - exponent_of(tiles, dtype, row, k / 16) <= decoder.more_bits();
      ASSERT_LE(std::abs(static_cast<float>(made.code(row, k)) * scale - value), is_exact ? 0.0F : scale / 2) << row << ", " << k;
    }
    for (std::int64_t k = num_tiles * 32; k < (num_blocks + 3) / 4 * 64; ++k) ASSERT_EQ(made.code(row, k), 0) << "beyond the tiles";
  }
}

TEST(AmxStoredTiles, IntegersAreTheValuesToHalfAStepOfTheLargestExponent) {
  for (const IntegerDecoder& decoder : integer_decoders()) {
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      for (const std::int64_t num_blocks : {1, 2, 3, 5, 7, 8, 9, 31, 32, 33, 67}) expect_half_steps(decoder, dtype, num_blocks);
    }
  }
}

TEST(AmxStoredTiles, BlocksWithoutNumbersMakeTheScaleOfTheirOutputNaN) {
  for (const IntegerDecoder& decoder : integer_decoders()) {
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      std::vector<std::uint8_t> tiles = random_tiles(3, dtype, 100, 110, 3);
      const auto exponent = static_cast<std::size_t>(tile_bytes(dtype) + 2 * 16 + 5);  // output 21, block 2
      tiles[exponent] = 255;
      const std::size_t codes =
          static_cast<std::size_t>(tile_bytes(dtype) + 64 + (dtype == DataType::bfloat8_b ? 2 * 256 + 5 * 16 : 2 * 128 + 5 * 8));
      std::fill_n(tiles.begin() + static_cast<std::ptrdiff_t>(codes), dtype == DataType::bfloat8_b ? 16 : 8, std::uint8_t{0x11});
      EXPECT_EQ(IntegerTiles(decoder, tiles, dtype, 6).scale(21, 0), std::ldexp(1.0F, 122 - decoder.more_bits()))
          << "large numbers are numbers";
      tiles[codes] = dtype == DataType::bfloat8_b ? 0x40 : 0x41;
      const IntegerTiles made(decoder, tiles, dtype, 6);
      for (std::int64_t row = 0; row < 32; ++row) EXPECT_EQ(std::isnan(made.scale(row, 0)), row == 21) << row;
    }
  }
}

TEST(AmxStoredTiles, TinyBlocksHaveNormalScales) {
  for (const IntegerDecoder& decoder : integer_decoders()) {
    const IntegerTiles made(decoder, random_tiles(2, DataType::bfloat8_b, 0, 6, 4), DataType::bfloat8_b, 4);
    for (std::int64_t row = 0; row < 32; ++row) EXPECT_EQ(made.scale(row, 0), 0x1p-126F);
  }
}

// ---------------------------------------------------------------- rows of x

TEST(AmxRows, CodesAreWithinHalfAStep) {
  for (const TileKernels* table : int8_decoders()) {
    for (const std::int64_t count : {16, 64, 512}) {
      const std::vector<float> values = random_floats(count, 5);
      std::vector<std::int8_t> codes(static_cast<std::size_t>(count) + 1, 77);
      const float scale = table->quantise(values.data(), count, codes.data());
      float largest = 0.0F;
      for (std::size_t idx = 0; idx < values.size(); ++idx) {
        largest = std::max(largest, std::abs(values[idx]));
        EXPECT_LE(std::abs(static_cast<float>(codes[idx]) * scale - values[idx]), scale * 0.50001F);
      }
      EXPECT_EQ(scale, largest / 127.0F);
      EXPECT_EQ(codes.back(), 77);
    }
  }
}

TEST(AmxRows, Int16CodesAreWithinHalfAStepTheEvenOnesFirst) {
  for (const TileKernels* table : decoders()) {
    if (table->quantise_int16 == nullptr) continue;  // those with a matrix unit have bf16
    for (const std::int64_t count : {64, 128}) {
      std::vector<float> values = random_floats(count, 7);
      std::vector<std::int16_t> codes(static_cast<std::size_t>(count) + 1, 77);
      const float scale = table->quantise_int16(values.data(), count, codes.data());
      float largest = 0.0F;
      for (std::int64_t k = 0; k < count; ++k) {
        const float value = values[static_cast<std::size_t>(k)];
        const auto code = static_cast<float>(codes[static_cast<std::size_t>(k / 64 * 64 + k % 2 * 32 + k % 64 / 2)]);
        largest = std::max(largest, std::abs(value));
        EXPECT_LE(std::abs(code * scale - value), scale * 0.501F) << k;
      }
      EXPECT_EQ(scale, largest / 8191.0F);
      EXPECT_EQ(codes.back(), 77);
      values[20] = INFINITY;
      EXPECT_TRUE(std::isnan(table->quantise_int16(values.data(), count, codes.data())));
      EXPECT_EQ(codes[0], 0);
    }
  }
}

TEST(AmxRows, ZeroTinyAndNonFiniteRowsHaveCodesZero) {
  for (const TileKernels* table : int8_decoders()) {
    std::vector<std::int8_t> codes(32, 77);
    for (const float bad : {0.0F, 1e-45F, INFINITY, -INFINITY, std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> values(32, 0.0F);
      values[20] = bad;
      const float scale = table->quantise(values.data(), 32, codes.data());
      EXPECT_EQ(std::isnan(scale), !std::isfinite(bad));
      EXPECT_EQ(codes, std::vector<std::int8_t>(32, 0));
    }
  }
}

TEST(AmxRows, PackedRowsHaveFourBytesOfEachRowSideBySide) {
  for (const TileKernels* table : decoders()) {
    for (std::int64_t num_rows = 1; num_rows <= kPanelRows; ++num_rows) {
      constexpr std::int64_t kSteps = 3, kRowBytes = 256;
      std::vector<std::uint8_t> rows(static_cast<std::size_t>(num_rows * kRowBytes));
      for (std::size_t idx = 0; idx < rows.size(); ++idx) rows[idx] = static_cast<std::uint8_t>(idx * 37 + idx / 256);
      const std::int64_t num_tiles = num_rows > 16 ? 2 : 1;
      std::vector<std::uint8_t> out(static_cast<std::size_t>(kSteps * num_tiles * 1024) + 1, 77);
      table->pack({.rows = rows.data(), .row_bytes = kRowBytes, .num_rows = num_rows, .num_steps = kSteps, .out = out.data()});
      for (std::int64_t idx = 0; idx < kSteps * num_tiles * 1024; ++idx) {
        const std::int64_t row = idx / 1024 % num_tiles * 16 + idx / 4 % 16,
                           byte = idx / 1024 / num_tiles * 64 + idx % 1024 / 64 * 4 + idx % 4;
        ASSERT_EQ(out[static_cast<std::size_t>(idx)], row < num_rows ? rows[static_cast<std::size_t>(row * kRowBytes + byte)] : 0) << idx;
      }
      EXPECT_EQ(out.back(), 77);
    }
  }
}

TEST(AmxRows, TransposedSumsAreRows) {
  const std::vector<float> sums = random_floats(48 * kPanelRows, 6);
  for (const TileKernels* table : decoders()) {
    for (const std::int64_t num_tiles : {1, 2}) {
      std::vector<float> rows(32 * 50, -7.0F);
      table->transpose_sums(sums.data(), num_tiles, 48, rows.data(), 50);
      for (std::int64_t idx = 0; idx < 32 * 50; ++idx) {
        const bool is_there = idx / 50 < 16 * num_tiles && idx % 50 < 48;
        ASSERT_EQ(rows[static_cast<std::size_t>(idx)], is_there ? sums[static_cast<std::size_t>(idx % 50 * kPanelRows + idx / 50)] : -7.0F);
      }
    }
  }
}

TEST(AmxDecoders, HaveTheBitsOfTheEmulation) {
  for (const IntegerDecoder& decoder : integer_decoders()) {
    const bool is_int8 = decoder.form == PanelForm::int8;
    const IntegerDecoder emulated_decoder = {decoder.form,
                                             is_int8 ? integers_of_stored<PanelForm::int8, 7> : integers_of_stored<PanelForm::int16, 7>,
                                             is_int8 ? integers_of_stored<PanelForm::int8, 3> : integers_of_stored<PanelForm::int16, 3>};
    for (const DataType dtype : {DataType::bfloat8_b, DataType::bfloat4_b}) {
      const std::vector<std::uint8_t> tiles = random_tiles(35, dtype, 0, 254, 62);
      const IntegerTiles expected(emulated_decoder, tiles, dtype, 69), actual(decoder, tiles, dtype, 69);
      EXPECT_EQ(actual.bytes(), expected.bytes());
      EXPECT_EQ(std::memcmp(actual.scales().data(), expected.scales().data(), actual.scales().size() * sizeof(float)), 0);
    }
  }
  const std::vector<float> values = random_floats(512, 63);
  for (const TileKernels* table : int8_decoders()) {
    std::vector<std::int8_t> expected(512), actual(512);
    EXPECT_EQ(table->quantise(values.data(), 512, actual.data()), quantise(values.data(), 512, expected.data()));
    EXPECT_EQ(actual, expected);
  }
}

}  // namespace
}  // namespace meshseek::cpu::amx

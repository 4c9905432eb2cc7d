#include "hf/number_formats.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include "hf/safetensors.hpp"
#include "hf/test_files.hpp"

namespace meshseek {
namespace {

using testing::data_file;

TEST(NumberFormats, E4m3AgreesWithTheGoldenInAll256Codes) {
  const auto tensors = read_safetensors(data_file("unit/unit.safetensors"));
  const HfTensor& golden = tensors.at("e4m3");
  ASSERT_EQ(golden.dtype, HfDtype::F32);
  ASSERT_EQ(golden.shape, Shape{256});
  for (int code = 0; code < 256; ++code) {
    float expected = 0.0F;
    std::memcpy(&expected, golden.bytes.data() + code * 4, 4);
    const float actual = decode_e4m3(static_cast<std::uint8_t>(code));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(actual)) << code;
    } else {
      EXPECT_EQ(actual, expected) << code;
      EXPECT_EQ(std::signbit(actual), std::signbit(expected)) << code;
    }
  }
}

TEST(NumberFormats, E8m0AgreesWithTheGoldenInAll256Codes) {
  const auto tensors = read_safetensors(data_file("unit/unit.safetensors"));
  const HfTensor& golden = tensors.at("e8m0");
  ASSERT_EQ(golden.dtype, HfDtype::F64);
  ASSERT_EQ(golden.shape, Shape{256});
  for (int code = 0; code < 255; ++code) {
    double expected = 0.0;
    std::memcpy(&expected, golden.bytes.data() + code * 8, 8);
    EXPECT_EQ(static_cast<double>(decode_e8m0(static_cast<std::uint8_t>(code))), expected) << code;
  }
  EXPECT_TRUE(std::isnan(decode_e8m0(0xFF)));
}

TEST(NumberFormats, E4m3HasItsNanCodesAndNoInfinity) {
  EXPECT_TRUE(std::isnan(decode_e4m3(0x7F)));
  EXPECT_TRUE(std::isnan(decode_e4m3(0xFF)));
  EXPECT_EQ(decode_e4m3(0x7E), 448.0F);
  EXPECT_EQ(decode_e4m3(0xFE), -448.0F);
  EXPECT_EQ(decode_e4m3(0x01), 0.001953125F);
}

TEST(NumberFormats, E4m3EncodesEveryCodeItDecodes) {
  for (unsigned code = 0; code < 256; ++code) {
    if ((code & 0x7FU) == 0x7FU) continue;
    EXPECT_EQ(encode_e4m3(decode_e4m3(static_cast<std::uint8_t>(code))), code);
  }
}

TEST(NumberFormats, E4m3RoundsToTheNearestCodeAndTiesToTheEvenOne) {
  for (unsigned code = 0; code < 0x7E; ++code) {
    const float low = decode_e4m3(static_cast<std::uint8_t>(code));
    const float high = decode_e4m3(static_cast<std::uint8_t>(code + 1));
    const float middle = (low + high) / 2;
    EXPECT_EQ(encode_e4m3(middle), code % 2 == 0 ? code : code + 1) << middle;
    EXPECT_EQ(encode_e4m3(std::nextafter(middle, low)), code);
    EXPECT_EQ(encode_e4m3(-std::nextafter(middle, high)), (code + 1) | 0x80U);
  }
  EXPECT_EQ(encode_e4m3(1e9F), 0x7E);
}

TEST(NumberFormats, F16DecodesEveryClassOfNumbers) {
  EXPECT_EQ(decode_f16(0x0000), 0.0F);
  EXPECT_TRUE(std::signbit(decode_f16(0x8000)));
  EXPECT_EQ(decode_f16(0x3C00), 1.0F);
  EXPECT_EQ(decode_f16(0xC000), -2.0F);
  EXPECT_EQ(decode_f16(0x7BFF), 65504.0F);
  EXPECT_EQ(decode_f16(0x0400), 0x1p-14F);
  EXPECT_EQ(decode_f16(0x0001), 0x1p-24F);
  EXPECT_EQ(decode_f16(0x83FF), -1023.0F * 0x1p-24F);
  EXPECT_EQ(decode_f16(0x3555), 0x1.554p-2F);
  EXPECT_EQ(decode_f16(0x7C00), std::numeric_limits<float>::infinity());
  EXPECT_EQ(decode_f16(0xFC00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(decode_f16(0x7E01)));
}

}  // namespace
}  // namespace meshseek

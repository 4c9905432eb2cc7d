#include "hf/state_dict.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "hf/number_formats.hpp"
#include "hf/state_dict_view.hpp"
#include "hf/test_files.hpp"
#include "tensor/dtype.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using testing::checkpoint;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using testing::safetensors_bytes;
using ::testing::SizeIs;
using testing::write_text;

StateDict open(const std::string& name) { return StateDict(checkpoint(name), read_hf_config(checkpoint(name))); }

float scale_at(const HfTensor& scale, std::int64_t row, std::int64_t col) {
  float value = 0.0F;
  std::memcpy(&value, scale.bytes.data() + (row * scale.shape[1] + col) * 4, 4);
  return value;
}

TEST(StateDict, OpensASingleFile) {
  const StateDict dict = open("v2-tiny");
  EXPECT_THAT(dict.files(), ElementsAre(checkpoint("v2-tiny") / "model.safetensors"));
  EXPECT_TRUE(dict.contains("model.norm.weight"));
  EXPECT_FALSE(dict.contains("model.norm"));
  EXPECT_EQ(dict.shape("model.embed_tokens.weight"), (Shape{256, 128}));
  EXPECT_EQ(dict.folder(), checkpoint("v2-tiny"));
}

TEST(StateDict, OpensTheShardsOfAnIndex) {
  const StateDict dict = open("v3-tiny");
  EXPECT_THAT(dict.files(), ElementsAre(checkpoint("v3-tiny") / "model-00001-of-000002.safetensors",
                                        checkpoint("v3-tiny") / "model-00002-of-000002.safetensors"));
  EXPECT_TRUE(dict.contains("model.embed_tokens.weight"));
  EXPECT_TRUE(dict.contains("model.layers.3.eh_proj.weight"));
  EXPECT_THAT(open("v3-tiny-fp8").names(), SizeIs(dict.names().size() + 176));
}

TEST(StateDict, ViewsReadBelowTheirPrefix) {
  const StateDict dict = open("v3-tiny");
  const StateDictView mlp = StateDictView(dict).sub("model").sub("layers").sub("0").sub("mlp");
  EXPECT_TRUE(mlp.contains("up_proj.weight"));
  EXPECT_EQ(mlp.full_name("up_proj.weight"), "model.layers.0.mlp.up_proj.weight");
  const WeightRows rows = mlp.rows("up_proj.weight", {224, 144});
  EXPECT_EQ(rows.source, &dict);
  ASSERT_THAT(rows.rows, SizeIs(1));
  EXPECT_EQ(rows.rows[0].tensor, "model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(rows.rows[0].num_rows, 224);
  EXPECT_THAT(error_of([&] { mlp.rows("up_proj.weight", {144, 224}); }), HasSubstr("has shape [224, 144]"));
}

TEST(StateDict, APartIsThePartOfTheWhole) {
  for (const char* folder : {"v3-tiny", "v3-tiny-fp8"}) {
    const StateDict dict = open(folder);
    const std::string name = "model.layers.0.mlp.up_proj.weight";
    const auto whole = dict.load(name, {224, 144});
    const MatrixPart part = {.first_row = 101, .num_rows = 77, .first_col = 33, .num_cols = 100};
    std::vector<float> values(77 * 100);
    dict.read(name, part, values);
    for (std::size_t row = 0; row < 77; ++row) {
      for (std::size_t col = 0; col < 100; ++col) ASSERT_EQ(values[row * 100 + col], whole[(101 + row) * 144 + 33 + col]) << folder << row;
    }
  }
}

TEST(StateDict, AnIdentityChangesWithTheFileOrWithTheContent) {
  const TemporaryFolder folder;
  std::filesystem::copy(checkpoint("v2-tiny"), folder.path() / "m");
  const auto identities = [&](const std::string& name) {
    const StateDict dict(folder.path() / "m", read_hf_config(folder.path() / "m"));
    return std::pair(dict.identity(name, Trust::size_mtime), dict.identity(name, Trust::content));
  };
  const Path file = folder.path() / "m" / "model.safetensors";
  const auto before = identities("model.norm.weight");
  EXPECT_EQ(identities("model.norm.weight"), before);
  // Touched: only the time is another one.
  std::filesystem::last_write_time(file, std::filesystem::last_write_time(file) + std::chrono::seconds(1));
  const auto touched = identities("model.norm.weight");
  EXPECT_NE(touched.first, before.first);
  EXPECT_EQ(touched.second, before.second);
  // Changed behind the file's back: only the content is another one.
  const auto time = std::filesystem::last_write_time(file);
  const StateDict dict(folder.path() / "m", read_hf_config(folder.path() / "m"));
  const HfTensor& tensor = dict.raw("model.norm.weight");
  const auto offset = tensor.bytes.data() - tensor.file->bytes().data();
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(offset + 1);
  stream.put('\x41');
  stream.close();
  std::filesystem::last_write_time(file, time);
  const auto changed = identities("model.norm.weight");
  EXPECT_EQ(changed.first, touched.first);
  EXPECT_NE(changed.second, touched.second);
}

TEST(StateDict, AFileThatIsShortenedMeanwhileIsAnErrorAndNoSignal) {
  const TemporaryFolder folder;
  std::filesystem::copy(checkpoint("v2-tiny"), folder.path() / "m");
  const StateDict dict(folder.path() / "m", read_hf_config(folder.path() / "m"));
  std::filesystem::resize_file(folder.path() / "m" / "model.safetensors", 5000);
  EXPECT_THAT(error_of([&] { dict.load("model.norm.weight", {128}); }), HasSubstr("it was shortened while it was read"));
}

TEST(StateDict, Bf16AndF32WeightsAreWidenedExactly) {
  const StateDict dict = open("v3-tiny");
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.mlp.gate.e_score_correction_bias"}) {
    const HfTensor& raw = dict.raw(name);
    const auto values = dict.load(name, raw.shape);
    ASSERT_EQ(static_cast<std::int64_t>(values.size()), volume(raw.shape));
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::uint32_t bits = 0;
      if (raw.dtype == HfDtype::BF16) {
        std::memcpy(reinterpret_cast<std::byte*>(&bits) + 2, raw.bytes.data() + 2 * i, 2);
      } else {
        std::memcpy(&bits, raw.bytes.data() + 4 * i, 4);
      }
      ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), bits) << name << " " << i;
    }
  }
  EXPECT_EQ(dict.raw("model.embed_tokens.weight").dtype, HfDtype::BF16);
  EXPECT_EQ(dict.raw("model.layers.1.mlp.gate.e_score_correction_bias").dtype, HfDtype::F32);
}

TEST(StateDict, Fp8WeightsAreCodeTimesScaleInEveryPartialBlock) {
  for (const char* folder : {"v3-tiny-fp8", "v3-tiny-fp8-ue8m0"}) {
    const StateDict dict = open(folder);
    std::size_t checked = 0;
    std::size_t in_other_shard = 0;
    for (const std::string& name : dict.names()) {
      const HfTensor& raw = dict.raw(name);
      if (raw.dtype != HfDtype::F8_E4M3) continue;
      const HfTensor& scale = dict.raw(name + "_scale_inv");
      in_other_shard += scale.file != raw.file ? 1 : 0;
      const auto values = dict.load(name, raw.shape);
      for (std::int64_t row = 0; row < raw.shape[0]; ++row) {
        for (std::int64_t col = 0; col < raw.shape[1]; ++col) {
          const std::int64_t at = row * raw.shape[1] + col;
          const double code = decode_e4m3(std::to_integer<std::uint8_t>(raw.bytes[at]));
          ASSERT_EQ(values[at], static_cast<float>(code * scale_at(scale, row / 128, col / 128))) << name << " " << row << " " << col;
        }
      }
      ++checked;
    }
    EXPECT_EQ(checked, 176U);
    EXPECT_EQ(in_other_shard, 26U);
  }
}

// The FP8 checkpoint holds v3-tiny's weights. Rounding to e4m3 costs at most half a step: 1/16 of the value, or half a denormal step.
TEST(StateDict, Fp8WeightsAreTheBf16WeightsWithinTheErrorOfE4m3) {
  const StateDict exact = open("v3-tiny");
  const StateDict fp8 = open("v3-tiny-fp8");
  for (const std::string& name : fp8.names()) {
    const HfTensor& raw = fp8.raw(name);
    if (raw.dtype != HfDtype::F8_E4M3) continue;
    const HfTensor& scale = fp8.raw(name + "_scale_inv");
    const auto values = fp8.load(name, raw.shape);
    const auto expected = exact.load(name, raw.shape);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / raw.shape[1];
      const auto col = static_cast<std::int64_t>(i) % raw.shape[1];
      // bfloat16 and float32 rounding of weight, scale and division add a little.
      const float step = scale_at(scale, row / 128, col / 128) * 0x1p-10F;
      ASSERT_LE(std::abs(values[i] - expected[i]), 1.01F * std::max(std::abs(expected[i]) / 16.0F, step)) << name << " " << i;
    }
  }
}

/// A checkpoint of hand-written tensors with v3-tiny-fp8's config.
class HandWritten : public ::testing::Test {
 protected:
  struct Item {
    std::string name;
    HfDtype dtype = HfDtype::F32;
    Shape shape;
    std::string bytes;
  };

  StateDict dict(const std::vector<Item>& items, std::vector<std::int64_t> block = {2, 4}) const {
    std::vector<NamedArray> arrays;
    for (const Item& item : items) arrays.push_back({item.name, item.dtype, item.shape, std::as_bytes(std::span(item.bytes))});
    write_safetensors(folder_.path() / "model.safetensors", arrays);
    HfConfig config;
    config.weight_block_size = std::move(block);
    return StateDict(folder_.path(), config);
  }
  static std::string floats(const std::vector<float>& values) { return {reinterpret_cast<const char*>(values.data()), values.size() * 4}; }

  TemporaryFolder folder_;
};

TEST_F(HandWritten, BlocksOfAnySizeArePartialAtTheEdges) {
  // 0x38 is 1.0; blocks of 2 x 4 on 3 x 5.
  const StateDict weights =
      dict({{"w", HfDtype::F8_E4M3, {3, 5}, std::string(15, '\x38')}, {"w_scale_inv", HfDtype::F32, {2, 2}, floats({1, 2, 3, 4})}});
  EXPECT_THAT(weights.load("w", {3, 5}), ElementsAre(1, 1, 1, 1, 2, 1, 1, 1, 1, 2, 3, 3, 3, 3, 4));
}

TEST_F(HandWritten, ScalesMayBeBf16OrE8m0) {
  const Item weight = {"w", HfDtype::F8_E4M3, {1, 5}, "\x38\x40\xB8\x30\x38"};  // 1, 2, -1, 0.5, 1
  const StateDict bf16_scale = dict({weight, {"w_scale_inv", HfDtype::BF16, {1, 2}, std::string("\xC0\x3F\x00\x40", 4)}});
  EXPECT_THAT(bf16_scale.load("w", {1, 5}), ElementsAre(1.5F, 3.0F, -1.5F, 0.75F, 2.0F));
  const StateDict e8m0_scale = dict({weight, {"w_scale_inv", HfDtype::F8_E8M0, {1, 2}, "\x7E\x83"}});
  EXPECT_THAT(e8m0_scale.load("w", {1, 5}), ElementsAre(0.5F, 1.0F, -0.5F, 0.25F, 16.0F));
}

TEST_F(HandWritten, TheProductIsRoundedOnceAlsoAmongDenormals) {
  // 0x39 is 1.125; the scale's product needs more than 24 bits, the denormal one even fewer are left for.
  const float scale = 0x1.fffffep0F;
  const float tiny = 0x1.fffffep-127F;
  const StateDict weights =
      dict({{"w", HfDtype::F8_E4M3, {1, 5}, "\x39\x39\x39\x39\x39"}, {"w_scale_inv", HfDtype::F32, {1, 2}, floats({scale, tiny})}});
  const auto values = weights.load("w", {1, 5});
  EXPECT_EQ(values[0], static_cast<float>(1.125 * static_cast<double>(scale)));
  EXPECT_EQ(values[4], static_cast<float>(1.125 * static_cast<double>(tiny)));
  EXPECT_NE(values[4], 0.0F);
}

TEST_F(HandWritten, F16AndF64AreWidenedAndRounded) {
  const double value = 0.1;
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &value, 8);
  const StateDict weights = dict({{"h", HfDtype::F16, {2}, std::string("\x00\x3C\x00\xC0", 4)}, {"d", HfDtype::F64, {1}, bytes}});
  EXPECT_THAT(weights.load("h", {2}), ElementsAre(1.0F, -2.0F));
  EXPECT_THAT(weights.load("d", {1}), ElementsAre(0.1F));
}

TEST_F(HandWritten, RefusesNanCodesWithTheirPosition) {
  const Item scale = {"w_scale_inv", HfDtype::F32, {2, 2}, floats({1, 1, 1, 1})};
  for (const char code : {'\x7F', '\xFF'}) {
    std::string codes(15, '\x38');
    codes[7] = code;
    const StateDict weights = dict({{"w", HfDtype::F8_E4M3, {3, 5}, codes}, scale});
    EXPECT_THAT(error_of([&] { weights.load("w", {3, 5}); }), AllOf(HasSubstr("\"w\" [1, 2]"), HasSubstr("NaN")));
  }
}

TEST_F(HandWritten, RefusesScalesThatAreNotFiniteAndProductsBeyondFloat32) {
  const Item weight = {"w", HfDtype::F8_E4M3, {1, 4}, "\x38\x38\x38\x7E"};
  const StateDict infinite = dict({weight, {"w_scale_inv", HfDtype::F32, {1, 1}, floats({INFINITY})}});
  EXPECT_THAT(error_of([&] { infinite.load("w", {1, 4}); }), AllOf(HasSubstr("w_scale_inv"), HasSubstr("finite")));
  const StateDict nan_code = dict({weight, {"w_scale_inv", HfDtype::F8_E8M0, {1, 1}, "\xFF"}});
  EXPECT_THAT(error_of([&] { nan_code.load("w", {1, 4}); }), AllOf(HasSubstr("w_scale_inv"), HasSubstr("finite")));
  const StateDict huge = dict({weight, {"w_scale_inv", HfDtype::F32, {1, 1}, floats({1e38F})}});
  EXPECT_THAT(error_of([&] { huge.load("w", {1, 4}); }), AllOf(HasSubstr("[0, 3]"), HasSubstr("exceeds float32")));
}

TEST_F(HandWritten, RefusesFp8WithoutScaleOrWithoutBlockSize) {
  const Item weight = {"w", HfDtype::F8_E4M3, {1, 4}, "\x38\x38\x38\x38"};
  const StateDict bare = dict({weight});
  EXPECT_THAT(error_of([&] { bare.load("w", {1, 4}); }), HasSubstr("lacks its block scales \"w_scale_inv\""));
  const StateDict no_size = dict({weight, {"w_scale_inv", HfDtype::F32, {1, 1}, floats({1})}}, {});
  EXPECT_THAT(error_of([&] { no_size.load("w", {1, 4}); }), HasSubstr("weight_block_size"));
}

TEST_F(HandWritten, RefusesScalesOfAnotherShapeOrDtype) {
  const Item weight = {"w", HfDtype::F8_E4M3, {1, 5}, "\x38\x38\x38\x38\x38"};
  const StateDict narrow = dict({weight, {"w_scale_inv", HfDtype::F32, {1, 1}, floats({1})}});
  EXPECT_THAT(error_of([&] { narrow.load("w", {1, 5}); }), AllOf(HasSubstr("[1, 1]"), HasSubstr("[1, 2]")));
  const StateDict integers = dict({weight, {"w_scale_inv", HfDtype::I32, {1, 2}, floats({1, 1})}});
  EXPECT_THAT(error_of([&] { integers.load("w", {1, 5}); }), HasSubstr("I32"));
  const StateDict vector = dict({{"w", HfDtype::F8_E4M3, {4}, "\x38\x38\x38\x38"}, {"w_scale_inv", HfDtype::F32, {1}, floats({1})}});
  EXPECT_THAT(error_of([&] { vector.load("w", {4}); }), HasSubstr("expected a matrix"));
}

TEST_F(HandWritten, RefusesScalesBesideAWeightThatIsNotFp8) {
  const StateDict weights = dict({{"w", HfDtype::F32, {1, 1}, floats({1})}, {"w_scale_inv", HfDtype::F32, {1, 1}, floats({1})}});
  EXPECT_THAT(error_of([&] { weights.load("w", {1, 1}); }), HasSubstr("stored as F32 and has block scales"));
}

TEST_F(HandWritten, RefusesIntegersAsWeights) {
  const StateDict weights = dict({{"w", HfDtype::I64, {1}, std::string(8, '\0')}});
  EXPECT_THAT(error_of([&] { weights.load("w", {1}); }), AllOf(HasSubstr("\"w\""), HasSubstr("I64")));
}

TEST(StateDict, NamesBothShapesWhenTheyDiffer) {
  const StateDict dict = open("v3-tiny");
  EXPECT_THROW(dict.load("model.norm.weight", {145}), ShapeError);
  EXPECT_THAT(error_of([&] { dict.load("model.norm.weight", {145}); }),
              AllOf(HasSubstr("model.norm.weight"), HasSubstr("[144]"), HasSubstr("[145]")));
}

TEST(StateDict, NamesAnAbsentTensorAndTheFolder) {
  const StateDict dict = open("v3-tiny");
  EXPECT_THAT(error_of([&] { dict.raw("model.nope"); }), AllOf(HasSubstr("\"model.nope\""), HasSubstr("v3-tiny")));
  EXPECT_THAT(error_of([&] { dict.load("model.nope", {1}); }), HasSubstr("\"model.nope\""));
}

}  // namespace
}  // namespace meshseek

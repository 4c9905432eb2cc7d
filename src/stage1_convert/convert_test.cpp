// Stage 1 by its promises: standard formats, names, ranges, policies, and stores that say whether they are finished.
#include "stage1_convert/convert.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "stage3_run/runner.hpp"
#include "tensor/tensor_file.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

Path checkpoint(const std::string& name) { return testing::data_folder() / "checkpoints" / name; }

class Conversion : public ::testing::Test {
 protected:
  ConvertReport convert(const std::string& name, const ConvertOptions& options = {}) const {
    return convert_checkpoint(checkpoint(name), store(), options);
  }
  Path store() const { return folder_.path() / "store"; }
  DataType dtype_of(const std::string& file) const { return TensorFile(store() / file).header().dtype; }
  std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(store())) {
      if (entry.is_regular_file()) files[entry.path().lexically_relative(store()).string()] = read_text_file(entry.path());
    }
    return files;
  }

  TemporaryFolder folder_;
};

TEST_F(Conversion, TheStandardFormatKeepsSensitiveTensorsPrecise) {
  convert("v3-tiny");
  EXPECT_EQ(dtype_of("layers/0/mlp/w1.input_tensor_b.tensorbin"), DataType::bfloat8_b);
  EXPECT_EQ(dtype_of("layers/1/moe/experts/w2.input_tensor_b.tensorbin"), DataType::bfloat8_b);
  EXPECT_EQ(dtype_of("lm_head.input_tensor_b.tensorbin"), DataType::bfloat8_b);
  EXPECT_EQ(dtype_of("embedding.weight.tensorbin"), DataType::bfloat16);
  EXPECT_EQ(dtype_of("layers/1/moe/gate/linear.input_tensor_b.tensorbin"), DataType::bfloat16);
  EXPECT_EQ(dtype_of("layers/1/input_layernorm.weight.tensorbin"), DataType::bfloat16);
  EXPECT_EQ(dtype_of("layers/1/moe/gate/router.e_score_correction_bias.tensorbin"), DataType::float32);
  const TensorFile projection(store() / "layers/0/mla/wo.input_tensor_b.tensorbin");
  EXPECT_EQ(projection.header().layout, Layout::tile);
  EXPECT_EQ(projection.header().memory_config, MemoryConfig{});  // DRAM, interleaved
}

TEST_F(Conversion, Float32StoresEveryTensorInFloat32) {
  convert("v3-tiny", {.dtype = DataType::float32});
  for (const auto& [name, content] : contents()) {
    if (!name.ends_with(".tensorbin")) continue;
    EXPECT_EQ(dtype_of(name), DataType::float32) << name;
  }
}

TEST_F(Conversion, ExpertsAreStackedAndKvBProjIsSplitByHead) {
  convert("v3-tiny");
  const HfConfig hf = read_hf_config(checkpoint("v3-tiny"));
  EXPECT_EQ(TensorFile(store() / "layers/1/moe/experts/w1.input_tensor_b.tensorbin").header().shape,
            (Shape{hf.n_routed_experts, hf.moe_intermediate_size, hf.hidden_size}));
  EXPECT_EQ(TensorFile(store() / "layers/1/mla/wkv_b1.input_tensor_b.tensorbin").header().shape,
            (Shape{hf.num_attention_heads, hf.qk_nope_head_dim, hf.kv_lora_rank}));
  EXPECT_EQ(TensorFile(store() / "layers/1/mla/wkv_b2.input_tensor_b.tensorbin").header().shape,
            (Shape{hf.num_attention_heads, hf.v_head_dim, hf.kv_lora_rank}));
}

TEST_F(Conversion, EqualLayersShareOneEntryWithARangePatternAndAPlaceholder) {
  convert("v3-tiny");
  const Tree document = parse_json(read_text_file(store() / "weight_config.json"), "weight config");
  const Tree& layers = *document.find("model")->find("layers");
  ASSERT_EQ(layers.as_object("layers").size(), 2U);
  const Tree& entry = *layers.find("1-2")->find("moe")->find("experts")->find("w1")->find("input_tensor_b");
  EXPECT_EQ(*entry.find("path"), Tree("layers/{layer}/moe/experts/w1.input_tensor_b.tensorbin"));
  EXPECT_EQ(*entry.find("dtype"), Tree("bfloat8_b"));
}

TEST_F(Conversion, AnMtpModuleWithoutCopiesNamesTheMainModelsFiles) {
  convert_checkpoint(testing::embedded_model(), store(), {});
  const Tree document = parse_json(read_text_file(store() / "weight_config.json"), "weight config");
  const Tree& mtp = *document.find("model")->find("mtp")->find("0");
  EXPECT_EQ(*mtp.find("embedding")->find("weight")->find("path"), Tree("embedding.weight.tensorbin"));
  EXPECT_EQ(*mtp.find("lm_head")->find("input_tensor_b")->find("path"), Tree("lm_head.input_tensor_b.tensorbin"));
}

TEST_F(Conversion, ASecondRunWritesNothing) {
  const ConvertReport first = convert("v2-tiny");
  const auto before = std::filesystem::last_write_time(store() / "weight_config.json");
  const ConvertReport second = convert("v2-tiny");
  EXPECT_FALSE(first.up_to_date);
  EXPECT_TRUE(second.up_to_date);
  EXPECT_EQ(second.num_tensors, first.num_tensors);
  EXPECT_EQ(std::filesystem::last_write_time(store() / "weight_config.json"), before);
}

TEST_F(Conversion, AnotherDtypeConvertsAgainAndLeavesNoOldFiles) {
  convert("v2-tiny");
  EXPECT_FALSE(convert("v2-tiny", {.dtype = DataType::bfloat4_b}).up_to_date);
  const auto changed = contents();
  std::filesystem::remove_all(store());
  convert("v2-tiny", {.dtype = DataType::bfloat4_b});
  EXPECT_EQ(contents(), changed);
}

TEST_F(Conversion, AStoreDoesNotDependOnTheNumberOfThreads) {
  convert("v3-tiny", {.num_threads = 1});
  const auto one = contents();
  convert("v3-tiny", {.num_threads = 3, .force = true});
  EXPECT_EQ(contents(), one);
}

TEST_F(Conversion, AnUnfinishedStoreIsRefusedAndCompletedByTheNextConversion) {
  convert("v2-tiny");
  const auto whole = contents();
  // A conversion that dies after its third file: simulated by an exception out of the progress callback.
  int files = 0;
  const auto die = [&](const ConvertProgress&) {
    if (++files == 3) throw std::runtime_error("killed");
  };
  EXPECT_THROW(convert("v2-tiny", {.force = true, .on_progress = die}), std::runtime_error);
  EXPECT_TRUE(looks_like_store(store()));
  EXPECT_THAT([&] { read_store_info(store()); }, ThrowsMessage<Error>(HasSubstr("did not finish")));
  convert("v2-tiny");
  EXPECT_EQ(contents(), whole);
}

TEST_F(Conversion, APolicySetsTheDtypePerOperatorAndLayerRange) {
  const Tree policy = parse_json(
      R"({"format_version": 1, "model": {"layers": {"0-1": {"mla": "bfloat16"}, "1-2": {"moe": {"experts": {"w2": "bfloat4_b"}}}}, "lm_head": "float32"}})",
      "policy");
  convert("v3-tiny", {.dtype_policy = policy});
  EXPECT_EQ(dtype_of("layers/0/mla/wo.input_tensor_b.tensorbin"), DataType::bfloat16);
  EXPECT_EQ(dtype_of("layers/1/mla/wq_a.input_tensor_b.tensorbin"), DataType::bfloat16);
  EXPECT_EQ(dtype_of("layers/2/mla/wo.input_tensor_b.tensorbin"), DataType::bfloat8_b);
  EXPECT_EQ(dtype_of("layers/2/moe/experts/w2.input_tensor_b.tensorbin"), DataType::bfloat4_b);
  EXPECT_EQ(dtype_of("layers/2/moe/experts/w1.input_tensor_b.tensorbin"), DataType::bfloat8_b);
  EXPECT_EQ(dtype_of("lm_head.input_tensor_b.tensorbin"), DataType::float32);
  const Tree document = parse_json(read_text_file(store() / "weight_config.json"), "weight_config.json");
  ASSERT_NE(document.find("dtype_policy"), nullptr);
  EXPECT_EQ(*document.find("dtype_policy"), policy);
}

TEST_F(Conversion, APolicyThatNamesNothingIsRefused) {
  const auto expect = [&](const std::string& model, const std::string& words) {
    const Tree policy = parse_json("{\"format_version\": 1, \"model\": " + model + "}", "policy");
    EXPECT_THAT([&] { convert("v3-tiny", {.dtype_policy = policy}); }, ThrowsMessage<ConfigError>(HasSubstr(words))) << model;
  };
  expect(R"({"layers": {"0": {"mpl": "bfloat16"}}})", "unknown name \"mpl\" in the dtype policy; did you mean \"mlp\"?");
  expect(R"({"norm": "bfloat8_b"})", "[model.norm] a dtype has no effect here");
  expect(R"({"embedding": "bfloat8_b"})", "[model.embedding] a dtype has no effect here");
  expect(R"({"layers": {"1": {"moe": {"gate": {"linear": "bfloat8_b"}}}}})", "moe.gate.linear] a dtype has no effect here");
  expect(R"({"layers": {"0": {"mlp": "bfloat17"}}})", "bfloat17");
  expect(R"({"layers": {"0-9": {"mlp": "bfloat16"}}})", "0-9");
  expect(R"({"layers": {"0-1": {"mlp": "bfloat16"}, "1-2": {"mlp": "bfloat4_b"}}})", "1-2");
}

TEST_F(Conversion, AFolderWithOtherFilesIsNotTouched) {
  std::filesystem::create_directories(store());
  write_file_atomically(store() / "thesis.txt", std::string_view("precious"));
  EXPECT_THAT([&] { convert("v2-tiny"); }, ThrowsMessage<Error>(HasSubstr("is no store")));
  EXPECT_EQ(contents().size(), 1U);
}

TEST_F(Conversion, AnotherMeshThanOneDeviceIsRefusedForNow) {
  EXPECT_THAT([&] { convert("v2-tiny", {.mesh = {.rows = 2, .cols = 1}}); }, ThrowsMessage<Error>(HasSubstr("only 1x1 is supported")));
}

TEST_F(Conversion, AStoreOfAnotherVersionIsRefused) {
  convert("v2-tiny");
  std::string text = read_text_file(store() / "weight_config.json");
  text.replace(text.find("\"format_version\": 1"), 19, "\"format_version\": 9");
  write_file_atomically(store() / "weight_config.json", std::string_view(text));
  EXPECT_THAT([&] { read_store_info(store()); }, ThrowsMessage<Error>(HasSubstr("format_version 9")));
}

}  // namespace
}  // namespace meshseek

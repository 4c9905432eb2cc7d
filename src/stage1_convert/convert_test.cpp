// Stage 1 by its promises: standard formats, names, ranges, policies, and stores that say whether they are finished.
#include "stage1_convert/convert.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "base/error.hpp"
#include "base/file.hpp"
#include "hf/state_dict.hpp"
#include "stage1_convert/export_hf.hpp"
#include "stage1_convert/staged_store.hpp"
#include "stage3_run/runner.hpp"
#include "tensor/tensor_file.hpp"
#include "tests/support/arrays.hpp"

namespace meshseek {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
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
  /// Tensor files that are in the store with the same content.
  std::int64_t count_same(const std::map<std::string, std::string>& others) const {
    std::int64_t count = 0;
    for (const auto& [name, content] : contents()) {
      const auto other = others.find(name);
      count += name.ends_with(".tensorbin") && other != others.end() && other->second == content ? 1 : 0;
    }
    return count;
  }
  void edit_manifest(const std::function<void(Manifest&)>& edit) const {
    Manifest manifest = *read_manifest(store());
    edit(manifest);
    write_file_atomically(store() / kManifestFile, std::string_view(manifest_text(manifest)));
  }
  static void expect_same_tensors(const Path& one, const Path& other) {
    const std::vector<std::string> files = tensor_files_of(one);
    ASSERT_FALSE(files.empty());
    EXPECT_EQ(tensor_files_of(other), files);
    for (const std::string& file : files) EXPECT_TRUE(read_text_file(one / file) == read_text_file(other / file)) << file;
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

TEST_F(Conversion, ExpertsAreCutOverTheColumnsOfOneRowAndDealtToTheDevicesOfSeveral) {
  const auto entry_of = [&](const char* op, const MeshShape& mesh) {
    const Path store = folder_.path() / to_string(mesh);
    if (!std::filesystem::exists(store)) convert_checkpoint(checkpoint("odd-tiny"), store, {.mesh = mesh});
    const Tree document = parse_json(read_text_file(store / "weight_config.json"), "weight config");
    const Tree& moe = *document.find("model")->find("layers")->find("1-2")->find("moe");
    const Tree& entry = *moe.find("experts")->find(op)->find("input_tensor_b");
    return to_json_line(*entry.find("placement")) + to_json_line(*entry.find("shard_shape"));
  };
  const MeshShape one_row = {1, 2};
  EXPECT_EQ(entry_of("w1", one_row), R"x(["replicate","shard(1)"][5,32,72])x");
  EXPECT_EQ(entry_of("w2", one_row), R"x(["replicate","shard(2)"][5,72,32])x");
  const MeshShape two_rows = {2, 2};
  EXPECT_EQ(entry_of("w1", two_rows), R"x(["shard(0)","shard(0)"][2,40,72])x");
  EXPECT_EQ(entry_of("w2", two_rows), R"x(["shard(0)","shard(0)"][2,72,40])x");
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
  EXPECT_EQ(first.num_up_to_date, 0);
  EXPECT_TRUE(second.up_to_date());
  EXPECT_EQ(second.files.size(), first.files.size());
  EXPECT_EQ(std::filesystem::last_write_time(store() / "weight_config.json"), before);
}

TEST_F(Conversion, AnotherDtypeConvertsAgainAndLeavesNoOldFiles) {
  convert("v2-tiny");
  EXPECT_FALSE(convert("v2-tiny", {.dtype = DataType::bfloat4_b}).up_to_date());
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

/// A conversion that dies after its third file: an exception out of the progress callback.
void die_after_three_files(const ConvertProgress& progress) {
  if (progress.files_done == 3) throw std::runtime_error("killed");
}

TEST_F(Conversion, AnUnfinishedStoreIsRefusedAndCompletedByTheNextConversion) {
  EXPECT_THROW(convert("v2-tiny", {.num_threads = 1, .on_progress = die_after_three_files}), std::runtime_error);
  EXPECT_TRUE(looks_like_store(store()));
  EXPECT_THAT([&] { read_store_info(store()); }, ThrowsMessage<Error>(HasSubstr("did not finish")));
  EXPECT_EQ(convert("v2-tiny").num_up_to_date, 3) << "what was finished is not done again";
  const auto completed = contents();
  std::filesystem::remove_all(store());
  convert("v2-tiny");
  EXPECT_EQ(contents(), completed);
}

TEST_F(Conversion, AnInterruptedUpdateLeavesTheOldStoreUsable) {
  convert("v2-tiny");
  const auto before = contents();
  const ConvertOptions smaller = {.dtype = DataType::bfloat4_b, .num_threads = 1};
  ConvertOptions dies = smaller;
  dies.on_progress = die_after_three_files;
  EXPECT_THROW(convert("v2-tiny", dies), std::runtime_error);
  for (const auto& [name, content] : before) EXPECT_EQ(contents().at(name), content) << name;
  EXPECT_EQ(read_store_info(store()).dtype, DataType::bfloat8_b);
  const ConvertReport resumed = convert("v2-tiny", smaller);
  std::filesystem::remove_all(store());
  const ConvertReport whole = convert("v2-tiny", smaller);
  EXPECT_EQ(resumed.num_up_to_date - whole.num_up_to_date - 3, count_same(before))
      << "tensors that keep their type, and three that were finished";
}

TEST_F(Conversion, AStagedFileThatWasDamagedIsBuiltAgain) {
  EXPECT_THROW(convert("v2-tiny", {.num_threads = 1, .on_progress = die_after_three_files}), std::runtime_error);
  Path staged;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(store() / "conversion_staging")) {
    if (entry.path().extension() == ".tensorbin") staged = entry.path();
  }
  std::fstream stream(staged, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(-1, std::ios::end);
  stream.put('\x55');
  stream.close();
  EXPECT_EQ(convert("v2-tiny").num_up_to_date, 2);
  const auto completed = contents();
  std::filesystem::remove_all(store());
  convert("v2-tiny");
  EXPECT_EQ(contents(), completed);
}

TEST_F(Conversion, OnlyWhatChangedIsBuiltAgainAndTheReportSaysWhy) {
  convert("v3-tiny");
  const auto built = [](const ConvertReport& report) {
    std::map<std::string, std::string> why;
    for (const ConvertedFile& file : report.files) {
      if (!file.why.empty()) why[file.path] = file.why;
    }
    return why;
  };
  // Another dtype for one operator.
  const Tree policy = parse_json(R"({"format_version": 1, "model": {"layers": {"0": {"mlp": {"w1": "bfloat4_b"}}}}})", "policy");
  EXPECT_THAT(built(convert("v3-tiny", {.dtype_policy = policy})),
              ElementsAre(Pair("layers/0/mlp/w1.input_tensor_b.tensorbin", "dtype bfloat8_b -> bfloat4_b")));
  EXPECT_THAT(built(convert("v3-tiny", {.dtype_policy = policy})), IsEmpty());
  // A file that is gone, and one that was cut off.
  std::filesystem::remove(store() / "norm.weight.tensorbin");
  std::filesystem::resize_file(store() / "lm_head.input_tensor_b.tensorbin", 500);
  const auto repaired = built(convert("v3-tiny", {.dtype_policy = policy}));
  EXPECT_THAT(repaired, ElementsAre(Pair("lm_head.input_tensor_b.tensorbin", HasSubstr("missing or has another size")),
                                    Pair("norm.weight.tensorbin", HasSubstr("missing or has another size"))));
  // Another way from source to bytes.
  edit_manifest([](Manifest& manifest) {
    ManifestEntry& entry = manifest.files.at("norm.weight.tensorbin");
    entry.description->transform = 0;
    entry.description_sha256 = sha256_of(*entry.description);
  });
  EXPECT_THAT(built(convert("v3-tiny", {.dtype_policy = policy})),
              ElementsAre(Pair("norm.weight.tensorbin", "converter version 0 -> " + std::to_string(kTransformVersion))));
}

TEST_F(Conversion, AChangedSourceShardRebuildsWhatItHolds) {
  const Path model = folder_.path() / "model";
  std::filesystem::copy(checkpoint("v3-tiny"), model);
  convert_checkpoint(model, store(), {});
  const Path shard = model / "model-00002-of-000002.safetensors";
  std::filesystem::last_write_time(shard, std::filesystem::last_write_time(shard) + std::chrono::seconds(1));
  const ConvertReport changed = convert_checkpoint(model, store(), {.dry_run = true});
  EXPECT_GT(changed.num_up_to_date, 0);
  EXPECT_FALSE(changed.up_to_date());
  for (const ConvertedFile& file : changed.files) {
    if (file.why.empty()) continue;
    EXPECT_THAT(file.why, HasSubstr("the source changed (model-0000")) << file.path;
  }
  // Only touched: by content nothing has changed, once the content is known.
  const ConvertReport first = convert_checkpoint(model, store(), {.trust = Trust::content});
  EXPECT_EQ(first.num_up_to_date, 0);
  EXPECT_EQ(first.files.front().why, "its source was known by size and time only");
  std::filesystem::last_write_time(shard, std::filesystem::last_write_time(shard) + std::chrono::seconds(1));
  EXPECT_TRUE(convert_checkpoint(model, store(), {.trust = Trust::content}).up_to_date());
}

TEST_F(Conversion, AnAddedMtpModuleIsAllThatIsBuilt) {
  const Path model = folder_.path() / "model";
  std::filesystem::copy(testing::embedded_model(), model);
  const std::string config = read_text_file(model / "config.json");
  std::string without = config;
  const std::string key = "\"num_nextn_predict_layers\": 1";
  ASSERT_NE(without.find(key), std::string::npos);
  without.replace(without.find(key), key.size(), "\"num_nextn_predict_layers\": 0");
  write_file_atomically(model / "config.json", std::string_view(without));
  convert_checkpoint(model, store(), {});
  write_file_atomically(model / "config.json", std::string_view(config));
  const ConvertReport report = convert_checkpoint(model, store(), {});
  EXPECT_GT(report.num_up_to_date, 50);
  for (const ConvertedFile& file : report.files) EXPECT_EQ(file.why, file.path.starts_with("mtp/") ? "new" : "") << file.path;
}

TEST_F(Conversion, ADryRunWritesNothing) {
  convert("v2-tiny");
  const auto before = contents();
  EXPECT_EQ(convert("v2-tiny", {.dtype = DataType::float32, .dry_run = true}).num_up_to_date, 0);
  EXPECT_EQ(contents(), before);
}

TEST_F(Conversion, ReshardingAStoreGivesTheBitsOfConvertingForThatMesh) {
  for (const char* name : {"v3-tiny", "v2lite-tiny", "odd-tiny", "v3-tiny-fp8"}) {
    const Path one = folder_.path() / (std::string(name) + "-1x1");
    convert_checkpoint(checkpoint(name), one, {});
    for (const MeshShape mesh : {MeshShape{1, 2}, MeshShape{1, 3}, MeshShape{2, 2}, MeshShape{1, 5}}) {
      SCOPED_TRACE(std::string(name) + " " + to_string(mesh));
      const Path direct = folder_.path() / "direct";
      const Path resharded = folder_.path() / "resharded";
      convert_checkpoint(checkpoint(name), direct, {.mesh = mesh});
      reshard_store(one, resharded, {.mesh = mesh});
      expect_same_tensors(direct, resharded);
      std::filesystem::remove_all(resharded);
      // And back again; heads of 28 values cut blocks that share an exponent, and what that loses is lost.
      const Path back = folder_.path() / "back";
      reshard_store(direct, back, {});
      if (std::string(name) != "odd-tiny") expect_same_tensors(one, back);
      for (const Path& path : {direct, back}) std::filesystem::remove_all(path);
    }
  }
}

TEST_F(Conversion, RankLocalStoresHoldThePiecesOfTheirRanks) {
  const MeshShape mesh = {1, 4};
  convert("v3-tiny", {.mesh = mesh});
  const Path part = folder_.path() / "part";
  const ConvertReport report = convert_checkpoint(checkpoint("v3-tiny"), part, {.mesh = mesh, .local = {.first = 2, .count = 2}});
  for (const ConvertedFile& file : report.files) {
    const TensorFile whole(store() / file.path);
    const TensorFile local(part / file.path);
    ASSERT_EQ(local.header().shards.size(), 2U) << file.path;
    for (std::size_t shard = 0; shard < 2; ++shard) {
      EXPECT_EQ(local.header().shards[shard].mesh_coordinate, whole.header().shards[2 + shard].mesh_coordinate);
      EXPECT_TRUE(std::ranges::equal(local.shard(shard).bytes(), whole.shard(2 + shard).bytes())) << file.path;
    }
  }
  EXPECT_THAT([&] { reshard_store(part, folder_.path() / "no", {}); }, ThrowsMessage<Error>(HasSubstr("pieces of the ranks 2-3 only")));
  EXPECT_THAT([&] { convert("v3-tiny", {.mesh = mesh, .local = {.first = 3, .count = 2}}); },
              ThrowsMessage<Error>(HasSubstr("the mesh 1x4 has 4 devices")));
}

TEST_F(Conversion, AWayBackToSafetensorsKeepsTheValuesOfTheStore) {
  for (const char* name : {"v3-tiny", "v2lite-tiny", "kimi-tiny"}) {
    for (const MeshShape mesh : {MeshShape{1, 1}, MeshShape{1, 3}}) {
      const Path first = folder_.path() / "first";
      const Path exported = folder_.path() / "exported";
      const Path again = folder_.path() / "again";
      convert_checkpoint(checkpoint(name), first, {.mesh = mesh});
      export_hf(first, exported);
      convert_checkpoint(exported, again, {.mesh = mesh});
      expect_same_tensors(first, again);  // stored values are bfloat16 values, and encoding them again changes nothing
      const HfConfig hf = read_hf_config(checkpoint(name));
      const StateDict source(checkpoint(name), hf);
      const StateDict result(exported, read_hf_config(exported));
      EXPECT_EQ(result.names(), source.names());
      for (const Path& path : {first, exported, again}) std::filesystem::remove_all(path);
    }
  }
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

TEST_F(Conversion, AStoreOfAnotherVersionIsRefused) {
  convert("v2-tiny");
  std::string text = read_text_file(store() / "weight_config.json");
  text.replace(text.find("\"format_version\": 1"), 19, "\"format_version\": 9");
  write_file_atomically(store() / "weight_config.json", std::string_view(text));
  EXPECT_THAT([&] { read_store_info(store()); }, ThrowsMessage<Error>(HasSubstr("format_version 9")));
}

}  // namespace
}  // namespace meshseek

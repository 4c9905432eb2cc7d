#include "hf/generated_checkpoint.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <map>
#include <numeric>
#include <stdexcept>

#include "hf/generated_tensors.hpp"
#include "hf/number_formats.hpp"
#include "hf/published_models.hpp"
#include "hf/state_dict.hpp"
#include "hf/test_files.hpp"
#include "tests/support/temporary_folder.hpp"

namespace meshseek {
namespace {

using ::testing::AllOf;
using testing::checkpoint;
using testing::error_of;
using ::testing::HasSubstr;

/// A published family with small sizes: every tensor has enough values for statistics, and all of them are written in a moment.
Tree small_config(const std::string& name) {
  Tree config = published_config(name);
  config.set("num_hidden_layers", 3);
  config.set("vocab_size", 400);
  config.set("hidden_size", 320);
  config.set("intermediate_size", 300);
  config.set("moe_intermediate_size", 160);
  config.set("n_routed_experts", 16);
  config.set("num_experts_per_tok", 2);
  config.set("first_k_dense_replace", 1);
  config.set("num_attention_heads", 4);
  if (!config.find("q_lora_rank")->is_null()) config.set("q_lora_rank", 192);
  config.set("kv_lora_rank", 256);
  config.set("bos_token_id", 0);
  config.set("eos_token_id", 1);
  return config;
}

Tree small_fp8_config(const std::string& name) {
  Tree config = small_config(name);
  set_fp8(config);
  return config;
}

struct Moments {
  double mean = 0.0;
  double deviation = 0.0;
};

Moments moments(const std::vector<float>& values) {
  Moments result;
  for (const float value : values) result.mean += value / static_cast<double>(values.size());
  for (const float value : values) result.deviation += std::pow(value - result.mean, 2) / static_cast<double>(values.size());
  result.deviation = std::sqrt(result.deviation);
  return result;
}

class GeneratedCheckpoint : public ::testing::Test {
 protected:
  Path folder() const { return folder_.path() / "out"; }

  StateDict generate(const Tree& config, const GenerateOptions& options = {}) const {
    std::filesystem::remove_all(folder());
    generate_checkpoint(config, folder(), options);
    return StateDict(folder(), read_hf_config(folder()));
  }
  /// Mean and deviation of one tensor after dequantisation.
  static Moments moments_of(const StateDict& dict, const std::string& name) { return moments(dict.load(name, dict.shape(name))); }

  std::vector<std::string> file_names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder())) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> contents;
    for (const std::string& name : file_names()) contents[name] = read_text_file(folder() / name);
    return contents;
  }

 private:
  TemporaryFolder folder_;
};

/// Deviations that docs/generated_checkpoints.md promises, of projections.
const std::map<std::string, double> kProjections = {{"layers.0.self_attn.q_a_proj", 0.0187},
                                                    {"layers.0.self_attn.q_b_proj", 0.0085},
                                                    {"layers.0.self_attn.kv_a_proj_with_mqa", 0.0390},
                                                    {"layers.0.self_attn.kv_b_proj", 0.0049},
                                                    {"layers.0.self_attn.o_proj", 0.0059},
                                                    {"layers.0.mlp.gate_proj", 0.0035},
                                                    {"layers.0.mlp.up_proj", 0.0035},
                                                    {"layers.0.mlp.down_proj", 0.0055},
                                                    {"layers.1.mlp.shared_experts.gate_proj", 0.0040},
                                                    {"layers.1.mlp.shared_experts.up_proj", 0.0038},
                                                    {"layers.1.mlp.shared_experts.down_proj", 0.0060}};

TEST_F(GeneratedCheckpoint, ProjectionsHaveR1sDeviationsInBothFormats) {
  for (const Tree& config : {small_config("v3"), small_fp8_config("v3")}) {
    const StateDict dict = generate(config);
    // FP8 blocks differ by 10 %; large matrices have many of them, these have few.
    const double tolerance = config.find("quantization_config") == nullptr ? 0.015 : 0.05;
    for (const auto& [name, deviation] : kProjections) {
      const Moments found = moments_of(dict, "model." + name + ".weight");
      EXPECT_NEAR(found.deviation, deviation, tolerance * deviation) << name;
      EXPECT_NEAR(found.mean, 0.0, 0.03 * deviation) << name;
    }
  }
}

TEST_F(GeneratedCheckpoint, TheOtherTensorsHaveTheDocumentedStatistics) {
  const StateDict dict = generate(small_config("v3"));
  const auto expect = [&](const std::string& name, double mean, double deviation) {
    const Moments found = moments_of(dict, name);
    const double error = 4.0 * deviation / std::sqrt(static_cast<double>(volume(dict.shape(name))));
    EXPECT_NEAR(found.mean, mean, error) << name;
    EXPECT_NEAR(found.deviation, deviation, std::max(error, 0.01 * deviation)) << name;
  };
  expect("model.layers.1.self_attn.q_a_layernorm.weight", 0.444, 0.083);
  expect("model.layers.1.self_attn.kv_a_layernorm.weight", 0.007, 0.0076);
  expect("model.layers.1.input_layernorm.weight", 1.0, 0.05);
  expect("model.norm.weight", 1.0, 0.05);
  expect("model.embed_tokens.weight", 0.0, 0.02);
  expect("lm_head.weight", 0.0, 2.0 / std::sqrt(320.0));
  expect("model.layers.1.mlp.gate.e_score_correction_bias", 0.0, 0.02);
  expect("model.layers.3.eh_proj.weight", 0.0, 0.005);
}

TEST_F(GeneratedCheckpoint, TheRouterIsUniform) {
  const StateDict dict = generate(small_config("v3"));
  const std::vector<float> router = dict.load("model.layers.1.mlp.gate.weight", {16, 320});
  const double bound = 0.8 / std::sqrt(320.0);
  EXPECT_NEAR(moments(router).deviation, bound / std::sqrt(3.0), 0.02 * bound);
  const auto [smallest, largest] = std::minmax_element(router.begin(), router.end());
  EXPECT_NEAR(*smallest, -bound, 0.01 * bound);
  EXPECT_NEAR(*largest, bound, 0.01 * bound);
}

TEST_F(GeneratedCheckpoint, ExpertsDifferByUpTo30Percent) {
  const StateDict dict = generate(small_config("v3"));
  for (const auto& [projection, middle] : std::map<std::string, double>{{"gate", 0.00365}, {"up", 0.00355}, {"down", 0.0056}}) {
    std::vector<double> sizes;
    for (int expert = 0; expert < 16; ++expert) {
      sizes.push_back(moments_of(dict, fmt::format("model.layers.1.mlp.experts.{}.{}_proj.weight", expert, projection)).deviation / middle);
    }
    const auto [smallest, largest] = std::minmax_element(sizes.begin(), sizes.end());
    EXPECT_GT(*smallest, 0.68);
    EXPECT_LT(*smallest, 0.85);
    EXPECT_GT(*largest, 1.15);
    EXPECT_LT(*largest, 1.32);
  }
}

TEST_F(GeneratedCheckpoint, NormalValuesAreNormalAndSymmetric) {
  const StateDict dict = generate(small_config("v3"));
  std::vector<float> values = dict.load("model.embed_tokens.weight", {400, 320});
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double share) { return values[static_cast<std::size_t>(share * static_cast<double>(values.size()))] / 0.02; };
  EXPECT_NEAR(quantile(0.5), 0.0, 0.01);
  EXPECT_NEAR(quantile(0.8413), 1.0, 0.02);
  EXPECT_NEAR(quantile(0.1587), -1.0, 0.02);
  EXPECT_NEAR(quantile(0.97725), 2.0, 0.04);
  EXPECT_NEAR(quantile(0.00135), -3.0, 0.1);
  EXPECT_GT(values.back(), 0.02 * 3.8);
}

TEST_F(GeneratedCheckpoint, RowsAndTensorsAreIndependent) {
  const StateDict dict = generate(small_config("v3"));
  const auto correlation = [](std::span<const float> a, std::span<const float> b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / static_cast<double>(a.size()) / (0.0035 * 0.0035);
  };
  const std::vector<float> gate = dict.load("model.layers.0.mlp.gate_proj.weight", {300, 320});
  const std::vector<float> up = dict.load("model.layers.0.mlp.up_proj.weight", {300, 320});
  const double bound = 4.0 / std::sqrt(300.0 * 320.0);
  EXPECT_NEAR(correlation(gate, up), 0.0, bound);
  EXPECT_NEAR(correlation(std::span(gate).subspan(320), std::span(gate).first(299 * 320)), 0.0, bound);
  EXPECT_NEAR(correlation(std::span(gate).subspan(1), std::span(gate).first(gate.size() - 1)), 0.0, bound);
}

TEST_F(GeneratedCheckpoint, EveryFp8BlockUsesTheWholeRangeAndHasAScaleOfItsOwn) {
  const StateDict dict = generate(small_fp8_config("v3"));
  const std::string name = "model.layers.0.mlp.gate_proj.weight";  // [300, 320]: edge blocks of 44 rows and 64 columns
  const HfTensor& codes = dict.raw(name);
  ASSERT_EQ(codes.dtype, HfDtype::F8_E4M3);
  const std::vector<float> scales = dict.load(name + "_scale_inv", {3, 3});
  std::vector<float> largest(9);
  for (std::size_t i = 0; i < codes.bytes.size(); ++i) {
    float& block = largest[i / 320 / 128 * 3 + i % 320 / 128];
    block = std::max(block, std::fabs(decode_e4m3(std::to_integer<std::uint8_t>(codes.bytes[i]))));
  }
  EXPECT_THAT(largest, ::testing::Each(448.0F));
  for (std::size_t block = 0; block < 9; ++block) {
    // An outlier of 8 deviations has code 448; small blocks have fewer values beside it.
    EXPECT_GT(scales[block], 0.85 * 0.0035 * 8.0 / 448.0) << block;
    EXPECT_LT(scales[block], 1.15 * 0.0035 * 8.0 / 448.0) << block;
    for (std::size_t other = 0; other < block; ++other) EXPECT_NE(scales[block], scales[other]);
  }
}

TEST_F(GeneratedCheckpoint, OnlyProjectionsAreFp8) {
  const StateDict dict = generate(small_fp8_config("v3"));
  for (const std::string& name : dict.names()) {
    const bool is_projection = name.find("_proj") != std::string::npos && name.find("eh_proj") == std::string::npos;
    const HfDtype expected = name.ends_with("_scale_inv") || name.ends_with("_bias") ? HfDtype::F32
                             : is_projection                                         ? HfDtype::F8_E4M3
                                                                                     : HfDtype::BF16;
    EXPECT_EQ(to_string(dict.raw(name).dtype), to_string(expected)) << name;
    EXPECT_EQ(dict.contains(name + "_scale_inv"), expected == HfDtype::F8_E4M3) << name;
  }
}

TEST_F(GeneratedCheckpoint, TheConfigIsReadBack) {
  Tree config = small_fp8_config("v3");
  generate(config);
  EXPECT_EQ(parse_json(read_text_file(folder() / "config.json"), "config.json"), config);
  EXPECT_EQ(read_hf_config(folder()).weight_block_size, (std::vector<std::int64_t>{128, 128}));
}

/// Names and shapes of a checkpoint that another program wrote, where FP8 checkpoints have their scales.
std::map<std::string, Shape> shapes_of(const StateDict& dict) {
  std::map<std::string, Shape> shapes;
  for (const std::string& name : dict.names()) shapes[name] = dict.shape(name);
  return shapes;
}

TEST_F(GeneratedCheckpoint, HasTheNamesAndShapesOfTheRealFamilies) {
  for (const char* name : {"v2-tiny", "v2lite-tiny", "v3-tiny", "v3-tiny-fp8", "moonlight-tiny", "kimi-tiny", "odd-tiny", "tied-tiny"}) {
    const Path original = checkpoint(name);
    const StateDict expected(original, read_hf_config(original));
    const StateDict dict = generate(parse_json(read_text_file(original / "config.json"), name));
    EXPECT_EQ(shapes_of(dict), shapes_of(expected)) << name;
  }
}

TEST_F(GeneratedCheckpoint, TheBytesDependOnTheSeedAndNotOnTheThreads) {
  for (Tree config : {small_config("v2-lite"), small_fp8_config("v2-lite")}) {
    config.set("vocab_size", 4000);  // three pieces, which different threads may draw
    config.set("intermediate_size", 5000);
    generate(config, {.seed = 3, .num_threads = 1});
    const auto expected = files();
    for (const std::size_t num_threads : {2, 7}) {
      generate(config, {.seed = 3, .num_threads = num_threads});
      EXPECT_TRUE(files() == expected) << num_threads;
    }
    generate(config, {.seed = 4});
    EXPECT_FALSE(files() == expected);
  }
}

TEST_F(GeneratedCheckpoint, ALongerModelBeginsWithTheLayersOfAShorterOne) {
  for (const Tree& longer : {small_config("v3"), small_fp8_config("v3")}) {
    Tree shorter = longer;
    keep_first_layers(shorter, 2);
    const StateDict whole = generate(longer);
    std::map<std::string, std::string> contents;
    for (const std::string& name : whole.names()) {
      const auto bytes = whole.raw(name).bytes;
      contents[name] = std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    const StateDict part = generate(shorter);
    EXPECT_LT(part.names().size(), contents.size());
    for (const std::string& name : part.names()) {
      const auto bytes = part.raw(name).bytes;
      EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), contents.at(name)) << name;
    }
  }
}

TEST_F(GeneratedCheckpoint, TheMtpModuleSharesEmbeddingAndHead) {
  const StateDict dict = generate(small_config("v3"));
  const Shape shape = {400, 320};
  EXPECT_EQ(dict.load("model.layers.3.embed_tokens.weight", shape), dict.load("model.embed_tokens.weight", shape));
  EXPECT_EQ(dict.load("model.layers.3.shared_head.head.weight", shape), dict.load("lm_head.weight", shape));
}

TEST_F(GeneratedCheckpoint, FilesKeepTheLimitUnlessOneTensorIsLarger) {
  constexpr std::int64_t kLimit = 200'000;  // the embedding alone has 256,000 bytes
  const StateDict dict = generate(small_config("v2-lite"), {.max_file_bytes = kLimit});
  ASSERT_GT(dict.files().size(), 5U);
  EXPECT_EQ(dict.files().front().filename(), fmt::format("model-00001-of-{:05}.safetensors", dict.files().size()));
  for (const Path& file : dict.files()) {
    const auto tensors = read_safetensors(file);
    std::size_t bytes = 0;
    for (const auto& [name, tensor] : tensors) bytes += tensor.bytes.size();
    EXPECT_TRUE(bytes <= kLimit || tensors.size() == 1) << file;
  }
  EXPECT_EQ(file_names().size(), dict.files().size() + 2);
}

TEST_F(GeneratedCheckpoint, ReportsProgressUntilEverythingIsWritten) {
  std::vector<GenerateProgress> states;
  const GenerateReport report =
      generate_checkpoint(small_config("v3"), folder(), {.on_progress = [&](const GenerateProgress& state) { states.push_back(state); }});
  ASSERT_FALSE(states.empty());
  EXPECT_EQ(states.back().bytes_done, report.bytes);
  EXPECT_EQ(states.back().total_bytes, report.bytes);
  const StateDict dict(folder(), read_hf_config(folder()));
  EXPECT_EQ(report.num_tensors, static_cast<std::int64_t>(dict.names().size()));
  std::int64_t bytes = 0;
  for (const std::string& name : dict.names()) bytes += static_cast<std::int64_t>(dict.raw(name).bytes.size());
  EXPECT_EQ(report.bytes, bytes);
}

TEST_F(GeneratedCheckpoint, RefusesAFolderThatIsNotEmptyAndTouchesNothing) {
  std::filesystem::create_directories(folder());
  write_file_atomically(folder() / "notes.txt", "mine");
  EXPECT_THAT(error_of([&] { generate_checkpoint(small_config("v3"), folder()); }),
              AllOf(HasSubstr(folder().string()), HasSubstr("is not empty")));
  EXPECT_THAT(file_names(), ::testing::ElementsAre("notes.txt"));
  EXPECT_THAT(error_of([&] { generate_checkpoint(small_config("v3"), folder() / "notes.txt"); }), HasSubstr("is a file"));
  EXPECT_THAT(error_of([&] { generate_checkpoint(small_config("v3"), folder() / "notes.txt" / "out"); }), HasSubstr("notes.txt"));
}

TEST_F(GeneratedCheckpoint, RefusesWhatDoesNotFitOnTheDisk) {
  Tree config = small_config("v3");
  config.set("vocab_size", std::int64_t{1} << 24);
  config.set("hidden_size", std::int64_t{1} << 24);  // 562,950 GB for the embedding
  EXPECT_THAT(error_of([&] { generate_checkpoint(config, folder()); }), AllOf(HasSubstr("GB free"), HasSubstr("keep fewer layers")));
  EXPECT_FALSE(std::filesystem::exists(folder()));
}

TEST_F(GeneratedCheckpoint, AFullDiskLeavesNothing) {
  rlimit old = {};
  getrlimit(RLIMIT_FSIZE, &old);
  auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {300'000, old.rlim_max};  // the first file fits, that of o_proj does not
  setrlimit(RLIMIT_FSIZE, &limit);
  const std::string message = error_of([&] { generate_checkpoint(small_config("v3"), folder(), {.max_file_bytes = 280'000}); });
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message, HasSubstr("cannot write the file"));
  EXPECT_FALSE(std::filesystem::exists(folder()));
}

TEST_F(GeneratedCheckpoint, WhatProgressThrowsEndsTheWorkAndLeavesAnEmptyFolderThatWasThere) {
  std::filesystem::create_directories(folder());
  const GenerateOptions options = {.max_file_bytes = 300'000, .on_progress = [](const GenerateProgress& state) {
                                     if (state.files_done == 2) throw std::runtime_error("enough");
                                   }};
  EXPECT_THROW(generate_checkpoint(small_config("v3"), folder(), options), std::runtime_error);
  EXPECT_THAT(file_names(), ::testing::ElementsAre());
}

}  // namespace
}  // namespace meshseek

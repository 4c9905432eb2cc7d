// Whatever is wrong with the input: exit code 1, one line, and the line says what.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

class BadInput : public ProgramTest {
 protected:
  /// `run` and `convert` both refuse the folder.
  void expect_refused(const fs::path& model, std::string_view part) {
    expect_failure(run({"run", model.string(), "--ids", "1,2", "-n", "2"}), part);
    expect_failure(run({"convert", model.string(), (folder() / "new-store").string()}), part);
  }
};

TEST_F(BadInput, AnEmptyFolderIsRefused) {
  fs::create_directories(folder() / "empty");
  expect_refused(folder() / "empty", "config.json");
}

TEST_F(BadInput, AFolderThatIsNotThereIsRefused) { expect_refused(folder() / "nowhere", "there is no such folder"); }

TEST_F(BadInput, AFileInsteadOfAFolderIsRefused) { expect_refused(write("file", "x"), "there is no such folder"); }

TEST_F(BadInput, AMissingShardIsRefused) {
  const fs::path model = copy_checkpoint(checkpoint("v3-tiny"));
  fs::remove(model / "model-00002-of-000002.safetensors");
  expect_refused(model, "model-00002-of-000002.safetensors");
}

TEST_F(BadInput, ATruncatedShardIsRefused) {
  const fs::path model = copy_checkpoint(checkpoint("v3-tiny"));
  const fs::path shard = model / "model-00001-of-000002.safetensors";
  fs::resize_file(shard, fs::file_size(shard) / 2);
  expect_refused(model, "model-00001-of-000002.safetensors");
}

TEST_F(BadInput, AConfigWithoutHiddenSizeIsRefused) {
  const fs::path model = copy_checkpoint(checkpoint("v3-tiny"));
  replace_in_file(model / "config.json", "\"hidden_size\"", "\"hidden_sise\"");
  expect_refused(model, "hidden_size");
}

TEST_F(BadInput, ATokenizerThatIsNotJsonIsRefused) {
  const fs::path model = copy_checkpoint(checkpoint("v3-tiny"));
  write("v3-tiny/tokenizer.json", "this is not JSON");
  expect_failure(run({"run", model.string(), "-p", "To be"}), "tokenizer.json");
  expect_failure(run({"tokenize", model.string()}, "To be"), "tokenizer.json");
}

TEST_F(BadInput, AModelWithoutTokenizerNeedsIds) {
  expect_failure(run({"run", checkpoint("v3-tiny").string(), "-p", "To be"}), "no tokenizer.json");
}

TEST_F(BadInput, AStoreOfAnotherVersionIsRefused) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  replace_in_file(store / "weight_config.json", "\"format_version\": 1", "\"format_version\": 99");
  expect_failure(run({"run", store.string(), "--ids", "1,2"}), "format_version 99");
}

TEST_F(BadInput, AStoreWithATruncatedTensorIsRefused) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const fs::path file = store / "lm_head.input_tensor_b.tensorbin";
  fs::resize_file(file, fs::file_size(file) - 64);
  expect_failure(run({"run", store.string(), "--ids", "1,2"}), "lm_head");
}

TEST_F(BadInput, AStoreKeepsItsElementTypesWhenItIsConvertedForAnotherMesh) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const std::string other = (folder() / "other").string();
  expect_failure(run({"convert", store.string(), other, "--mesh", "1x2", "--dtype", "bfloat4_b"}),
                 "whose element types stay; leave --dtype out");
  EXPECT_EQ(run({"convert", store.string(), other, "--mesh", "1x2"}).exit_code, 0);
  expect_failure(run({"convert", checkpoint("v3-tiny").string(), (folder() / "hf").string(), "--to", "hf"}), "is no store");
  expect_failure(run({"convert", store.string(), other, "--to", "hf"}), "holds files already");
  fs::remove(store / "manifest.json");
  expect_failure(run({"convert", store.string(), (folder() / "third").string()}), "has no manifest.json");
}

TEST_F(BadInput, VerifyNamesWhatIsWrongAndFails) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  EXPECT_EQ(run({"verify", store.string()}).exit_code, 0);
  fs::remove(store / "norm.weight.tensorbin");
  const Result result = run({"verify", store.string()});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.out, ::testing::HasSubstr("norm.weight.tensorbin: is missing\n"));
  EXPECT_THAT(result.err, ::testing::HasSubstr("1 problems; remove these files"));
  EXPECT_EQ(run({"verify", store.string(), "--json"}).exit_code, 1);
  EXPECT_EQ(run({"convert", checkpoint("v3-tiny").string(), store.string()}).exit_code, 0);
  EXPECT_EQ(run({"verify", store.string()}).exit_code, 0) << "converting again has made it";
  expect_failure(run({"verify", checkpoint("v3-tiny").string()}), "is no store");
}

TEST_F(BadInput, SizesAndRanksThatAreNoneAreRefused) {
  const auto refused = [&](const std::string& flag, const std::string& value, const std::string& part) {
    expect_usage_error(run({"convert", checkpoint("v3-tiny").string(), (folder() / "s").string(), flag, value}), part);
  };
  for (const char* size : {"0", "-1", "1X", "M", "9999999999G"}) refused("--memory-limit", size, "[--memory-limit]");
  for (const char* ranks : {"a", "3-1", "-1", "1-"}) refused("--rank-local", ranks, "[--rank-local]");
  refused("--trust", "hope", "--trust");
  refused("--to", "gguf", "--to");
  expect_failure(run({"convert", checkpoint("v3-tiny").string(), (folder() / "s").string(), "--memory-limit", "10K"}), "are not enough");
}

TEST_F(BadInput, AFolderWithOtherFilesBecomesNoStore) {
  fs::create_directories(folder() / "photos");
  write("photos/cat.jpg", "meow");
  expect_failure(run({"convert", checkpoint("v3-tiny").string(), (folder() / "photos").string()}), "is no store");
  EXPECT_EQ(files_of(folder() / "photos").size(), 1U);
}

TEST_F(BadInput, FlagsThatContradictAStoreAreRefused) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  expect_failure(run({"run", store.string(), "--ids", "1,2", "--dtype", "float32"}), "store of bfloat8_b");
}

TEST_F(BadInput, APromptWithInvalidUtf8IsRefused) {
  expect_failure(run({"run", tiny_shakespeare().string(), "-p", "To \xFF be"}), "UTF-8");
  expect_failure(run({"run", tiny_shakespeare().string()}, "To \xC3"), "UTF-8");
}

TEST_F(BadInput, IdsBeyondTheVocabularyAreRefused) {
  for (const std::string verb : {"run", "logits"}) {
    Arguments arguments = {verb, checkpoint("v3-tiny").string(), "--ids", "1,2,256"};
    if (verb == "logits") arguments.insert(arguments.end(), {"-o", (folder() / "out.safetensors").string()});
    expect_failure(run(arguments), "token id 256 at position 2");
  }
  EXPECT_FALSE(fs::exists(cache())) << "nothing must be converted for a prompt that cannot run";
}

TEST_F(BadInput, AContextBeyondMaxPositionEmbeddingsIsRefused) {
  std::string ids = "5";
  for (int count = 1; count < 2561; ++count) ids += ",5";
  expect_failure(run({"run", checkpoint("v3-tiny").string(), "--ids", ids}), "2561 tokens; the context ends at 2560");
}

TEST_F(BadInput, AnEmptyPromptIsRefused) { expect_failure(run({"run", checkpoint("v3-tiny").string(), "--ids", ""}), "no tokens"); }

TEST_F(BadInput, AnAssignmentToAnUnknownOperatorIsRefusedBeforeTheConversion) {
  expect_failure(run({"run", checkpoint("v3-tiny").string(), "--ids", "1,2", "--set", "model.layers.0.mla.wq_x.dtype=float32"}), "wq_x");
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(BadInput, AConfigOfTheWrongModeIsRefused) {
  const fs::path config = folder() / "prefill.json";
  ASSERT_EQ(run({"configure", checkpoint("v3-tiny").string(), "-o", config.string()}).exit_code, 0);
  const fs::path store = convert(checkpoint("v3-tiny"));
  expect_failure(run({"run", store.string(), "--ids", "1,2", "--decode-config", config.string()}), "mode \"prefill\"");
}

TEST_F(BadInput, AConfigOfAnotherMeshOrVersionIsRefused) {
  const fs::path config = folder() / "decode.json";
  ASSERT_EQ(run({"configure", checkpoint("v3-tiny").string(), "--mode", "decode", "-o", config.string()}).exit_code, 0);
  const fs::path store = convert(checkpoint("v3-tiny"));
  replace_in_file(config, "\"mesh\": \"1x1\"", "\"mesh\": \"1x2\"");
  expect_failure(run({"run", store.string(), "--ids", "1,2", "--decode-config", config.string()}),
                 "is for mesh 1x2 but the store is for mesh 1x1");
  replace_in_file(config, "\"format_version\": 1", "\"format_version\": 7");
  expect_failure(run({"run", store.string(), "--ids", "1,2", "--decode-config", config.string()}), "format_version 7");
}

TEST_F(BadInput, AFullDiskBehindStdoutIsReported) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const Result result = start({"run", store.string(), "--ids", "1,2", "-n", "2"}, "", "/dev/full")->wait();
  expect_failure(result, "[stdout] cannot write");
}

TEST_F(BadInput, MessagesWithLineBreaksStayOneLine) { expect_refused(folder() / "two\nlines", "two lines"); }

}  // namespace
}  // namespace meshseek::cli_test

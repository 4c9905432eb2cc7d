// `meshseek tokenize`, `template` and `inspect`.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::HasSubstr;

class Text : public ProgramTest {
 protected:
  std::string model_ = tiny_shakespeare().string();
};

TEST_F(Text, TokenizeGivesTheGoldenIdsAndBack) {
  const std::string text = "HAMLET.\nTo be, or not to be";
  const std::string ids = "2001,651,54,262,421,311,14,537,330,295,311";
  EXPECT_EQ(run({"tokenize", model_}, text).out, ids + "\n");
  EXPECT_EQ(run({"tokenize", model_, "--ids", ids}).out, text);
  EXPECT_EQ(run({"tokenize", model_, "--ids"}, ids + "\n").out, text);
  EXPECT_EQ(run({"tokenize", "--ids", model_}, ids).out, text);
}

TEST_F(Text, EveryTextSurvivesTheRoundTrip) {
  for (const std::string text : {"", " ", "\n\n", "h\u00e9llo \u4f60\u597d \U0001F600", "a\tb  c\r\n<think>"}) {
    const std::string ids = run({"tokenize", model_}, text).out;
    EXPECT_EQ(run({"tokenize", model_, "--ids"}, ids).out, text);
  }
}

TEST_F(Text, NoSpecialRecognisesNoAddedToken) {
  EXPECT_EQ(run({"tokenize", model_}, "<｜User｜>").out, "4088\n");
  const std::string ids = run({"tokenize", model_, "--no-special"}, "<｜User｜>").out;
  EXPECT_GT(ids.size(), 6U);
  EXPECT_EQ(run({"tokenize", model_, "--ids", ids}).out, "<｜User｜>");
}

TEST_F(Text, TokenizeWorksLineByLine) {
  const Result ids = run({"tokenize", model_, "--jsonl"}, "{\"text\": \"To be\"}\n{\"text\": \"<think>\\n\"}\n");
  EXPECT_EQ(ids.out, "{\"ids\":[421,311]}\n{\"ids\":[4090,201]}\n");
  EXPECT_EQ(run({"tokenize", model_, "--jsonl", "--ids"}, ids.out).out, "{\"text\":\"To be\"}\n{\"text\":\"<think>\\n\"}\n");
  const Result bad = run({"tokenize", model_, "--jsonl"}, "{\"text\": \"To be\"}\n{\"txt\": 1}\n");
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_EQ(bad.out, "{\"ids\":[421,311]}\n");
  EXPECT_THAT(bad.err, HasSubstr("stdin line 2"));
}

TEST_F(Text, TokenizeRefusesIdsBeyondTheVocabulary) { expect_failure(run({"tokenize", model_, "--ids", "1,4999"}), "4999"); }

TEST_F(Text, TheTemplateGivesTheGoldenPrompt) {
  const std::string messages = R"([{"role": "user", "content": "Dost thou love me?"}])";
  const std::string prompt = run({"template", model_, "--add-generation-prompt"}, messages).out;
  EXPECT_EQ(prompt, "<｜begin▁of▁sentence｜><｜User｜>Dost thou love me?<｜Assistant｜>");
  const Tree golden = parse_json(read_file(tiny_shakespeare() / "golden.json"), "golden");
  std::string ids;
  for (const Tree& id : golden.find("prompts")->find("love")->find("ids")->as_array("ids")) {
    ids += (ids.empty() ? "" : ",") + std::to_string(id.as_integer("id"));
  }
  EXPECT_EQ(run({"tokenize", model_}, prompt).out, ids + "\n");
}

TEST_F(Text, TheTemplateTakesAnObjectAndVariables) {
  const std::string user = R"({"role": "user", "content": "Hi"})";
  const std::string without = run({"template", model_}, "[" + user + "]").out;
  EXPECT_EQ(without, "<｜begin▁of▁sentence｜><｜User｜>Hi");
  EXPECT_EQ(run({"template", model_}, "{\"messages\": [" + user + "], \"add_generation_prompt\": true}").out, without + "<｜Assistant｜>");
  EXPECT_EQ(run({"template", model_, "--kwargs", R"({"add_generation_prompt": true})"}, "[" + user + "]").out, without + "<｜Assistant｜>");
}

TEST_F(Text, TheTemplateRefusesWhatIsNoConversation) {
  expect_failure(run({"template", model_}, "hello"), "stdin");
  expect_failure(run({"template", model_}, "3"), "expected an array of messages or an object");
  expect_failure(run({"template", model_, "--kwargs", "[1]"}, "[]"), "--kwargs");
  expect_failure(run({"template", checkpoint("v3-tiny").string()}, "[]"), "tokenizer_config.json");
}

class Inspect : public ProgramTest {};

TEST_F(Inspect, ShowsEveryKindOfFile) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const std::string config = (folder() / "config.json").string();
  ASSERT_EQ(run({"configure", store.string(), "-o", config}).exit_code, 0);
  const std::map<std::string, std::string> formats = {
      {(checkpoint("v3-tiny") / "model-00001-of-000002.safetensors").string(), "safetensors"},
      {(store / "lm_head.input_tensor_b.tensorbin").string(), "tensorbin"},
      {(store / "weight_config.json").string(), "weight config"},
      {config, "model config"},
      {(checkpoint("v3-tiny") / "config.json").string(), "config.json"},
      {store.string(), "store"},
  };
  for (const auto& [path, format] : formats) {
    const Result text = run({"inspect", path});
    EXPECT_EQ(text.exit_code, 0) << text.err;
    EXPECT_THAT(text.out, HasSubstr("format: " + format)) << path;
    const Tree document = run({"inspect", path, "--json"}).json();
    EXPECT_EQ(document.find("format")->as_string("format"), format) << path;
  }
}

TEST_F(Inspect, ATensorFileTellsShapeAndType) {
  const fs::path store = convert(checkpoint("v3-tiny"));
  const Tree document = run({"inspect", (store / "lm_head.input_tensor_b.tensorbin").string(), "--json"}).json();
  EXPECT_EQ(to_json_line(*document.find("shape")), "[256,144]");
  EXPECT_EQ(document.find("dtype")->as_string("dtype"), "bfloat8_b");
  EXPECT_EQ(document.find("layout")->as_string("layout"), "TILE");
}

TEST_F(Inspect, TheRunConfigShowsLoadedWeights) {
  const Tree document =
      run({"inspect", checkpoint("v3-tiny").string(), "--run-config", "--set", "model.lm_head.compute_kernel_config.math_fidelity=HiFi4"})
          .json();
  for (const char* mode : {"prefill", "decode"}) {
    const Tree& head = *document.find(mode)->find("model")->find("lm_head");
    EXPECT_EQ(head.find("op")->as_string("op"), "Linear");
    EXPECT_EQ(head.find("input_tensor_b")->as_string("weight"), "bfloat8_b [256, 144] TILE");
    EXPECT_EQ(head.find("compute_kernel_config")->find("math_fidelity")->as_string("math_fidelity"), "HiFi4");
  }
  const Tree& layers = *document.find("prefill")->find("model")->find("layers");
  EXPECT_NE(layers.find("0"), nullptr);
  EXPECT_NE(layers.find("1-2"), nullptr);
}

TEST_F(Inspect, RefusesFilesOfUnknownKind) {
  expect_failure(run({"inspect", write("a.txt", "x").string()}), "unknown kind");
  expect_failure(run({"inspect", write("a.json", "{}").string()}), "unknown kind");
  expect_failure(run({"inspect", write("a.safetensors", "x").string()}), "a.safetensors");
  expect_failure(run({"inspect", write("a.tensorbin", "x").string()}), "a.tensorbin");
  expect_failure(run({"inspect", (folder() / "none.json").string()}), "none.json");
}

}  // namespace
}  // namespace meshseek::cli_test

// `meshseek explain`: each field of an operator, its value, and who set it.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

using ::testing::HasSubstr;

class Explain : public ProgramTest {
 protected:
  /// "value | source" of one field.
  std::string field(const std::string& path, const std::string& name, const Arguments& flags = {},
                    const std::string& model = checkpoint("v3-tiny").string()) {
    Arguments arguments = {"explain", model, path, "--json"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const Tree document = result.json();
    for (const Tree& row : document.find("fields")->as_array("fields")) {
      if (*row.find("field") == Tree(name)) return to_json_line(*row.find("value")) + " | " + row.find("source")->as_string("source");
    }
    return "no such field";
  }
};

constexpr const char* kFidelity = "compute_kernel_config.math_fidelity";

TEST_F(Explain, WithoutChangesEverythingIsADefault) {
  EXPECT_EQ(field("model.layers.0.mlp.w1", kFidelity), "\"LoFi\" | default");
  EXPECT_EQ(field("model.layers.0.mlp.w1", "transpose_b"), "true | default");
  EXPECT_EQ(field("model.layers.0.mlp.w1", "dtype"), "null | default");
  EXPECT_EQ(field("model.layers.0.mlp.w1", "program_config"), "null | dynamic rule (program_rule)");
  EXPECT_EQ(field("model.layers.0.mlp.w1", "program_rule", {"--mode", "decode"}), "null | default");
  EXPECT_FALSE(fs::exists(cache()));
}

TEST_F(Explain, AnOverlayNamesItsFileAndPattern) {
  const std::string overlay =
      write("o.json", R"({"model": {"layers": {"1-2": {"mla": {"wo": {"dtype": "float32"}}}}, "lm_head": {"dtype": "float32"}}})").string();
  EXPECT_EQ(field("model.layers.2.mla.wo", "dtype", {"--overlay", overlay}), "\"float32\" | pattern \"1-2\" of overlay " + overlay);
  EXPECT_EQ(field("model.lm_head", "dtype", {"--overlay", overlay}), "\"float32\" | overlay " + overlay);
  EXPECT_EQ(field("model.layers.0.mla.wo", "dtype", {"--overlay", overlay}), "null | default");
}

TEST_F(Explain, AnAssignmentIsNamedAndWinsOverAnOverlay) {
  const std::string overlay = write("o.json", R"({"model": {"layers": {"0-2": {"mla": {"wo": {"dtype": "float32"}}}}}})").string();
  const Arguments flags = {"--set", "model.layers.*.mla.wo.dtype=bfloat16", "--set", "model.layers.1.mla.wo.dtype=null", "--overlay",
                           overlay};
  EXPECT_EQ(field("model.layers.2.mla.wo", "dtype", flags), "\"bfloat16\" | --set model.layers.*.mla.wo.dtype=bfloat16");
  EXPECT_EQ(field("model.layers.1.mla.wo", "dtype", flags), "null | --set model.layers.1.mla.wo.dtype=null");
}

TEST_F(Explain, AConfigFileNamesThePatternAndTheFile) {
  const std::string file = (folder() / "decode.json").string();
  ASSERT_EQ(run({"configure", checkpoint("v3-tiny").string(), "--mode", "decode", "-o", file}).exit_code, 0);
  EXPECT_EQ(field("model.layers.2.mla.wo", "transpose_b", {"--decode-config", file}), "true | pattern \"1-2\" of " + file);
  EXPECT_EQ(field("model.lm_head", "transpose_b", {"--decode-config", file}), "true | " + file);
  replace_in_file(file, "\"transpose_b\": true,", "");
  EXPECT_EQ(field("model.layers.0.mla.wq_a", "transpose_b", {"--decode-config", file}), "true | default");
  expect_failure(run({"explain", checkpoint("v3-tiny").string(), "model.lm_head", "--prefill-config", file}), "is for mode \"decode\"");
}

TEST_F(Explain, AStoreSaysWhatItsDtypeChangedAndListsTheWeights) {
  const std::string policy =
      write("policy.json", R"({"format_version": 1, "model": {"layers": {"0": {"mlp": {"w1": "bfloat16"}}}}})").string();
  const std::string store = convert(checkpoint("v3-tiny"), "store", {"--dtype-policy", policy}).string();
  EXPECT_EQ(field("model.layers.0.mlp.w1", kFidelity, {}, store), "\"HiFi2\" | weight dtype bfloat16 in the store");
  EXPECT_EQ(field("model.layers.0.mlp.w3", kFidelity, {}, store), "\"LoFi\" | default");
  const Tree document = run({"explain", store, "model.layers.0.mlp.w1", "--json"}).json();
  const Tree& weights = *document.find("weights");
  ASSERT_EQ(weights.as_array("weights").size(), 1U);
  EXPECT_EQ(*weights.as_array("weights")[0].find("path"), Tree("layers/0/mlp/w1.input_tensor_b.tensorbin"));
  EXPECT_EQ(*weights.as_array("weights")[0].find("dtype"), Tree("bfloat16"));
  EXPECT_EQ(*weights.as_array("weights")[0].find("argument"), Tree("input_tensor_b"));
}

TEST_F(Explain, AFloat32StoreIsTheSourceOfExactArithmetic) {
  EXPECT_EQ(field("model.layers.0.mlp.w1", kFidelity, {"--dtype", "float32"}), "\"HiFi4\" | weight dtype float32 in the store");
}

TEST_F(Explain, AModuleListsItsOperatorsFolded) {
  const std::string text = run({"explain", checkpoint("v3-tiny").string(), "model.layers"}).out;
  EXPECT_THAT(text, HasSubstr("\n  model.layers.0.mlp.w1 "));
  EXPECT_THAT(text, HasSubstr("\n  model.layers.1-2.mla.wo "));
  EXPECT_EQ(text.find("model.layers.2.mla"), std::string::npos);
}

TEST_F(Explain, AFieldAloneMayBeNamed) {
  EXPECT_EQ(run({"explain", checkpoint("v3-tiny").string(), "model.layers.0.mlp.w1.compute_kernel_config"}).out,
            "model.layers.0.mlp.w1.compute_kernel_config (prefill): Linear\n"
            "  compute_kernel_config.math_fidelity     LoFi  default\n"
            "  compute_kernel_config.fp32_dest_acc_en  true  default\n");
  EXPECT_EQ(run({"explain", checkpoint("v3-tiny").string(), "model.lm_head.dtype", "--mode", "decode"}).out.substr(0, 29),
            "model.lm_head.dtype (decode):");
}

TEST_F(Explain, AnUnknownPathNamesTheNearestName) {
  const std::string model = checkpoint("v3-tiny").string();
  expect_failure(run({"explain", model, "model.layers.0.mpl.w1"}), "model.layers.0 has no \"mpl\"; did you mean \"mlp\"?");
  expect_failure(run({"explain", model, "model.layers.9.mla"}), "model.layers has no \"9\"");
  expect_failure(run({"explain", model, "model.layers.0.moe"}), "model.layers.0 has no \"moe\"");
  expect_failure(run({"explain", model, "model.lm_head.dtpye"}), "did you mean \"dtype\"?");
  expect_failure(run({"explain", model, "layers.0"}), "the config has no \"layers\"");
  expect_failure(run({"explain", model, ""}), "the config has no \"\"");
}

}  // namespace
}  // namespace meshseek::cli_test

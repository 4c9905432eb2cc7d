// `meshseek tune`: the overlay it writes is an overlay like any other, for one mode. What is faster is the machine's business: no test asks.
#include <gmock/gmock.h>

#include "tests/cli/program.hpp"

namespace meshseek::cli_test {
namespace {

class Tune : public ProgramTest {
 protected:
  void SetUp() override {
    // float32: sums in other pieces then never change which token is the likeliest.
    store_ = convert(checkpoint("v3-tiny"), "store", {"--dtype", "float32"}).string();
    overlay_ = (folder() / "overlay.json").string();
  }

  Result tune(const std::string& mode, const Arguments& flags = {}) {
    Arguments arguments = {"tune", store_, "--mode", mode, "-o", overlay_, "--reps", "1"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return run(arguments);
  }
  Tree overlay() const { return parse_json(read_file(overlay_), "overlay"); }

  std::string store_;
  std::string overlay_;
};

TEST_F(Tune, MeasuresTheProductsOfOneLayerOfEachKind) {
  for (const std::string mode : {"prefill", "decode"}) {
    const Result result = tune(mode, mode == "prefill" ? Arguments{"--tokens", "40"} : Arguments{});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    for (const char* path :
         {"model.layers.0.mla.wo ", "model.layers.0.mlp.w1 ", "model.layers.1-2.mla.wo ", "model.layers.1-2.moe.experts."})
      EXPECT_THAT(result.out, ::testing::HasSubstr(path)) << mode;
    EXPECT_THAT(result.out, ::testing::Not(::testing::HasSubstr("model.layers.2."))) << mode;
    EXPECT_THAT(result.out, ::testing::HasSubstr("\nall layers ")) << mode;
  }
}

TEST_F(Tune, TheOverlayIsAcceptedAndGivesTheSameTokens) {
  const Arguments model = {"run", store_, "--ids", "83,27,35,244", "-n", "8", "--json"};
  const Tree before = *run(model).json().find("ids");
  for (const std::string mode : {"prefill", "decode"}) {
    ASSERT_EQ(tune(mode, mode == "prefill" ? Arguments{"--tokens", "40"} : Arguments{}).exit_code, 0);
    EXPECT_EQ(overlay().find("mode")->as_string("mode"), mode);
    EXPECT_EQ(to_json(overlay()), read_file(overlay_));
    const Result configured = run({"configure", store_, "--mode", mode, "--overlay", overlay_});
    EXPECT_EQ(configured.exit_code, 0) << configured.err;
    Arguments with_overlay = model;
    with_overlay.insert(with_overlay.end(), {"--overlay", overlay_});
    EXPECT_EQ(*run(with_overlay).json().find("ids"), before) << mode;
  }
}

TEST_F(Tune, TheOverlayChangesItsModeOnly) {
  ASSERT_EQ(tune("prefill", {"--tokens", "40"}).exit_code, 0);
  EXPECT_EQ(run({"configure", store_, "--mode", "decode", "--overlay", overlay_}).out, run({"configure", store_, "--mode", "decode"}).out);
  const std::string by_hand =
      write("o.json", R"({"mode": "prefill", "model": {"layers": {"0-2": {"mla": {"wo": {"program_rule": {"in0_block_w": 1}}}}}}})")
          .string();
  EXPECT_NE(run({"configure", store_, "--overlay", by_hand}).out, run({"configure", store_}).out);
  EXPECT_EQ(run({"configure", store_, "--mode", "decode", "--overlay", by_hand}).out, run({"configure", store_, "--mode", "decode"}).out);
  EXPECT_EQ(run({"run", store_, "--ids", "1", "-n", "1", "--overlay", by_hand}).exit_code, 0);
  expect_failure(run({"configure", store_, "--overlay", write("o.json", R"({"mode": "train"})").string()}), "o.json mode]");
}

TEST_F(Tune, ReplacesAnOverlayThatIsThere) {
  write("overlay.json", "old");
  ASSERT_EQ(tune("decode").exit_code, 0);
  EXPECT_NE(overlay().find("model"), nullptr);
}

TEST_F(Tune, LayersWithOtherConfigsAreMeasuredForThemselves) {
  const Result result = tune("decode", {"--set", "model.layers.2.mla.wo.dtype=bfloat16"});
  EXPECT_THAT(result.out, ::testing::HasSubstr("model.layers.2.mla.wo "));
  EXPECT_THAT(result.out, ::testing::Not(::testing::HasSubstr("model.layers.1-2.")));
}

TEST_F(Tune, MistakesAreFoundBeforeTheSearch) {
  expect_usage_error(run({"tune", store_, "-o", overlay_}), "--mode");
  expect_usage_error(run({"tune", store_, "--mode", "both", "-o", overlay_}), "--mode");
  expect_usage_error(run({"tune", store_, "--mode", "decode"}), "-o");
  expect_usage_error(run({"tune", "--mode", "decode", "-o", overlay_}), "STORE");
  expect_usage_error(tune("decode", {"--tokens", "8"}), "--tokens");
  expect_usage_error(tune("prefill", {"--tokens", "0"}), "--tokens");
  expect_usage_error(tune("prefill", {"--reps", "0"}), "--reps");
  expect_failure(tune("prefill", {"--tokens", "1000000"}), "max_position_embeddings");
  expect_failure(run({"tune", store_, "--mode", "decode", "-o", (folder() / "none" / "o.json").string()}), "none");
  EXPECT_FALSE(fs::exists(overlay_));
}

}  // namespace
}  // namespace meshseek::cli_test
